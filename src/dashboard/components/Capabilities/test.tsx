import { expect, test } from "vitest";
import { NOW_S, makeStatus, mount } from "../../testing";
import { Capabilities } from ".";

const capabilities = makeStatus().abilities;

test("each capability shows its message", async () => {
  const { text, all } = await mount(<Capabilities capabilities={capabilities} trusted now={NOW_S * 1000 + 120_000} />);
  expect(text()).toContain("Speech synthesis does not work.");
  expect(text()).toContain("2");
  expect(all("[data-state=healthy]")).toHaveLength(1);
});

test("without a connection every state is unknown", async () => {
  const { all, text } = await mount(<Capabilities capabilities={capabilities} trusted={false} now={NOW_S * 1000} />);
  expect(all("[data-state=healthy]")).toHaveLength(0);
  expect(all("[data-state=unknown]")).toHaveLength(2);
  expect(text()).not.toContain("It hears you.");
});
