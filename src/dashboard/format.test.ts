import { expect, test, vi } from "vitest";
import { formatAge, formatBytes, formatDuration, formatLongDuration, formatMemory, formatNumber, formatSince, formatTime } from "./format";

const NOW = Date.parse("2026-01-31T12:00:00Z");

test("numbers and times follow the browser's locale", () => {
  vi.stubGlobal("navigator", { languages: ["de-DE"] });
  expect(formatNumber(1234.5, 1)).toBe("1.234,5");
  expect(formatDuration(2340)).toBe("2,3 s");
  expect(formatMemory(1536)).toBe("1,5 GiB");
  expect(formatTime(NOW, NOW + 86_400_000)).toMatch(/31\. Jan/);
  vi.stubGlobal("navigator", { languages: ["en-US"] });
  expect(formatDuration(2340)).toBe("2.3 s");
  expect(formatTime(NOW, NOW)).toMatch(/[AP]M/);
  vi.unstubAllGlobals();
});

test("short durations are shown more precisely", () => {
  expect([0, 0.04, 0.96, 12.4, 999, 1000, 61_240].map(formatDuration)).toEqual(["0 ms", "< 0.1 ms", "1 ms", "12 ms", "999 ms", "1.0 s", "61.2 s"]);
});

test("ages have one unit", () => {
  expect(formatAge(NOW - 3000, NOW)).toBe("just now");
  expect(formatAge(NOW - 59_000, NOW)).toBe("59 seconds ago");
  expect(formatSince(NOW - 3_700_000, NOW)).toBe("for 1 hour");
  expect(formatLongDuration(90_000_000)).toBe("1 day");
  expect(formatAge(NOW + 5000, NOW)).toBe("just now");
});

test("bytes have a suitable unit", () => {
  expect([512, 92_160, 1_500_000, 8e9].map(formatBytes)).toEqual(["0.5 kB", "92 kB", "1.5 MB", "8 GB"]);
});
