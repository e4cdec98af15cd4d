import { expect, test } from "vitest";
import type { TurnResponse } from "../../api/types";
import { mount } from "../../testing";
import { TurnRow, getWaitMs } from ".";

const turn: TurnResponse = {
  trace_id: "a".repeat(32),
  session_id: "s",
  speaker: null,
  utterance: "<script>alert(1)</script>",
  reply: "<b>no</b>",
  intent: "time",
  actions: [],
  degraded: ["llm"],
  latency_ms: { total: 31 },
  created_at: "2026-01-31T12:00:00.000Z",
  spoken: null,
};

test("utterance and reply are shown as plain text", async () => {
  const { all, text } = await mount(<TurnRow turn={turn} isCurrent={false} />);
  expect(all("script, b")).toHaveLength(0);
  expect(text()).toContain("<script>alert(1)</script>");
  expect(text()).toContain("incomplete");
});

test("the duration of a spoken turn is the time to the first sound", () => {
  expect(getWaitMs(turn)).toBe(31);
  const spoken = { stages: { first_audio: { at_ms: 0, took_ms: 900 } } } as unknown as TurnResponse["spoken"];
  expect(getWaitMs({ ...turn, spoken })).toBe(900);
});
