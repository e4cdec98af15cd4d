import { expect, test } from "vitest";
import { mount } from "../../testing";
import { Waterfall, computeTicks } from ".";

const stages = [
  { stage: "stt", service: "voice", at_ms: 0, took_ms: 600, budget_ms: 500, over_budget: true },
  { stage: "intent", service: "api", at_ms: 600, took_ms: 200, budget_ms: null, over_budget: false },
];

test("bars show start and duration of the stages", async () => {
  const { all, text } = await mount(<Waterfall stages={stages} totalMs={800} />);
  const [first, second] = all(".bar") as HTMLElement[];
  expect(first?.style.width).toBe("75%");
  expect(second?.style.left).toBe("75%");
  expect(first?.className).toContain("over");
  expect(second?.className).not.toContain("over");
  expect(text()).toContain("over 500 ms");
});

test("the axis has few, round values", () => {
  expect(computeTicks(800)).toEqual([0, 200, 400, 600, 800]);
  expect(computeTicks(3100)).toEqual([0, 1000, 2000, 3000]);
  expect(computeTicks(0)).toEqual([0]);
});
