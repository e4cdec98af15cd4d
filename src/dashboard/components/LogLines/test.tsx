import { expect, test } from "vitest";
import { mount } from "../../testing";
import { LogLines } from ".";

test("a record shows component and event, and its other fields", async () => {
  const line = { timestamp: "2026-01-31T12:00:00Z", component: "gpu", level: "warning", event: "slow", more: { model: "<i>" } };
  const { text, all } = await mount(<LogLines lines={[line]} />);
  expect(text()).toContain("gpu");
  expect(text()).toContain("warning");
  expect(text()).toContain('"model": "<i>"');
  expect(all("i")).toHaveLength(0);
});
