import { act } from "preact/test-utils";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { WaterfallResponse } from "../../api/types";
import { mount } from "../../testing";
import { TurnDetail } from "./detail";

const withoutTimings = {
  trace_id: "a".repeat(32),
  total_ms: 100,
  stages: [],
  why: ["Every stage was within its budget."],
  lines: [],
  turn: null,
  spoken: null,
} as unknown as WaterfallResponse;
const withTimings = { ...withoutTimings, spoken: { room: "kitchen", degraded: [] } } as unknown as WaterfallResponse;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function openTurn(hasTimings: boolean, answers: WaterfallResponse[]) {
  const getWaterfall = vi.fn(async () => answers.shift() ?? withTimings);
  const mounted = await mount(<TurnDetail trace={withoutTimings.trace_id} api={{ getWaterfall }} hasTimings={hasTimings} />);
  await act(async () => void (await vi.advanceTimersByTimeAsync(5000)));
  return { getWaterfall, text: mounted.text() };
}

test("reported timings are fetched until they are in the record", async () => {
  const { getWaterfall, text } = await openTurn(true, [withoutTimings, withoutTimings, withTimings]);
  expect(getWaterfall).toHaveBeenCalledTimes(3);
  expect(text).toContain("kitchen");
});

test("a turn without timings is fetched once", async () => {
  const { getWaterfall } = await openTurn(false, [withoutTimings]);
  expect(getWaterfall).toHaveBeenCalledTimes(1);
});
