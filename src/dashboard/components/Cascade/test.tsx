import { expect, test } from "vitest";
import { AT_S, house, show } from "../../testing";
import { Cascade } from ".";

const services = house().services;

test("what is not well is open, with its reason, its code and since when", async () => {
  const { find, text } = await show(<Cascade services={services} trusted now={AT_S * 1000 + 3_600_000} />);
  expect(find<HTMLDetailsElement>("details").open).toBe(true);
  expect(text()).toContain("llm does not answer dependency_down");
  expect(text()).toContain("for 1 hour");
  expect(text()).toContain("(cannot do without)");
});

test("without a connection it is all unknown", async () => {
  const { all, text } = await show(<Cascade services={services} trusted={false} now={AT_S * 1000} />);
  expect(all("[data-state]:not([data-state=unknown])")).toHaveLength(0);
  expect(text()).not.toContain("llm does not answer");
});
