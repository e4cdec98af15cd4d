import { expect, test } from "vitest";
import type { TurnShape } from "../../api/types";
import { show } from "../../testing";
import { TurnRow, waitOf } from ".";

const turn: TurnShape = {
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

test("what was said is text, whatever it looks like", async () => {
  const { all, text } = await show(<TurnRow turn={turn} here={false} />);
  expect(all("script, b")).toHaveLength(0);
  expect(text()).toContain("<script>alert(1)</script>");
  expect(text()).toContain("with less than usual");
});

test("the wait is that for the first sound where there was one", () => {
  expect(waitOf(turn)).toBe(31);
  const spoken = { stages: { first_audio: { at_ms: 0, took_ms: 900 } } } as unknown as TurnShape["spoken"];
  expect(waitOf({ ...turn, spoken })).toBe(900);
});
