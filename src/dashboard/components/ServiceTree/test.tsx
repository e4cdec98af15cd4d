import { expect, test } from "vitest";
import { NOW_S, makeStatus, mount } from "../../testing";
import { ServiceTree } from ".";

const services = makeStatus().services;

test("a degraded service is expanded, with reason, code and start time", async () => {
  const { find, text } = await mount(<ServiceTree services={services} trusted now={NOW_S * 1000 + 3_600_000} />);
  expect(find<HTMLDetailsElement>("details").open).toBe(true);
  expect(text()).toContain("llm does not answer dependency_down");
  expect(text()).toContain("for 1 hour");
  expect(text()).toContain("(required)");
});

test("without a connection every state is unknown", async () => {
  const { all, text } = await mount(<ServiceTree services={services} trusted={false} now={NOW_S * 1000} />);
  expect(all("[data-state]:not([data-state=unknown])")).toHaveLength(0);
  expect(text()).not.toContain("llm does not answer");
});
