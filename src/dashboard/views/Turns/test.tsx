import { act } from "preact/test-utils";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { WaterfallShape } from "../../api/types";
import { show } from "../../testing";
import { TurnDetail } from "./detail";

const silent = {
  trace_id: "a".repeat(32),
  total_ms: 100,
  stages: [],
  why: ["Nothing was."],
  lines: [],
  turn: null,
  spoken: null,
} as unknown as WaterfallShape;
const told = { ...silent, spoken: { room: "kitchen", degraded: [] } } as unknown as WaterfallShape;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function opened(spoken: boolean, answers: WaterfallShape[]) {
  const waterfall = vi.fn(async () => answers.shift() ?? told);
  const shown = await show(<TurnDetail trace={silent.trace_id} api={{ waterfall }} spoken={spoken} />);
  await act(async () => void (await vi.advanceTimersByTimeAsync(5000)));
  return { waterfall, text: shown.text() };
}

test("what the voice told is looked for until it is in the record", async () => {
  const { waterfall, text } = await opened(true, [silent, silent, told]);
  expect(waterfall).toHaveBeenCalledTimes(3);
  expect(text).toContain("kitchen");
});

test("a turn that nobody spoke is fetched once", async () => {
  const { waterfall } = await opened(false, [silent]);
  expect(waterfall).toHaveBeenCalledTimes(1);
});
