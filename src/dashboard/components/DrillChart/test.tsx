import { expect, test } from "vitest";
import type { DrillResponse } from "../../api/types";
import { mount } from "../../testing";
import { DrillChart } from ".";

const makeDrill = (day: number, took_ms: number, success = true): DrillResponse => ({
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

test("bars show durations, and failed drills are marked", async () => {
  const { all, find } = await mount(<DrillChart drills={[makeDrill(1, 4000), makeDrill(2, 2000, false), makeDrill(3, 1)]} />);
  const bars = all("li") as HTMLElement[];
  expect(bars.map((one) => one.style.height)).toEqual(["100%", "50%", "6%"]);
  expect(bars.map((one) => one.className)).toEqual(["", "failed", ""]);
  expect(find("ol").getAttribute("aria-label")).toContain("2 of the last 3 restore drills succeeded");
});

test("a single drill has no chart", async () => {
  expect((await mount(<DrillChart drills={[makeDrill(1, 4000)]} />)).all("li")).toHaveLength(0);
});
