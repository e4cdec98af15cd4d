import { expect, test } from "vitest";
import type { DrillShape } from "../../api/types";
import { show } from "../../testing";
import { DrillChart } from ".";

const drill = (day: number, took_ms: number, success = true): DrillShape => ({
  started_at: `2026-01-0${day}T03:00:00Z`,
  took_ms,
  success,
  step: null,
  code: null,
  reason: null,
  restore_ms: 1,
  bytes: 1,
  rows: 1,
  snapshot: null,
  offsite: false,
});

test("bars are as high as rehearsals were long, and a failed one is told apart", async () => {
  const { all, find } = await show(<DrillChart drills={[drill(1, 4000), drill(2, 2000, false), drill(3, 1)]} />);
  const bars = all("li") as HTMLElement[];
  expect(bars.map((one) => one.style.height)).toEqual(["100%", "50%", "6%"]);
  expect(bars.map((one) => one.className)).toEqual(["", "failed", ""]);
  expect(find("ol").getAttribute("aria-label")).toContain("2 of the last 3 rehearsals succeeded");
});

test("one alone is no history", async () => {
  expect((await show(<DrillChart drills={[drill(1, 4000)]} />)).all("li")).toHaveLength(0);
});
