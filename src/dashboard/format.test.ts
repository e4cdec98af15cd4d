import { expect, test, vi } from "vitest";
import { ago, lasting, memory, moment, number, size, since, took } from "./format";

const NOW = Date.parse("2026-01-31T12:00:00Z");

test("numbers and times are the reader's", () => {
  vi.stubGlobal("navigator", { languages: ["de-DE"] });
  expect(number(1234.5, 1)).toBe("1.234,5");
  expect(took(2340)).toBe("2,3 s");
  expect(memory(1536)).toBe("1,5 GiB");
  expect(moment(NOW, NOW + 86_400_000)).toMatch(/31\. Jan/);
  vi.stubGlobal("navigator", { languages: ["en-US"] });
  expect(took(2340)).toBe("2.3 s");
  expect(moment(NOW, NOW)).toMatch(/[AP]M/);
  vi.unstubAllGlobals();
});

test("a duration is as exact as it is short", () => {
  expect([0, 0.04, 0.96, 12.4, 999, 1000, 61_240].map(took)).toEqual(["0 ms", "< 0.1 ms", "1 ms", "12 ms", "999 ms", "1.0 s", "61.2 s"]);
});

test("the past is told in one unit", () => {
  expect(ago(NOW - 3000, NOW)).toBe("just now");
  expect(ago(NOW - 59_000, NOW)).toBe("59 seconds ago");
  expect(since(NOW - 3_700_000, NOW)).toBe("for 1 hour");
  expect(lasting(90_000_000)).toBe("1 day");
  expect(ago(NOW + 5000, NOW)).toBe("just now");
});

test("bytes have a unit that suits them", () => {
  expect([512, 92_160, 1_500_000, 8e9].map(size)).toEqual(["0.5 kB", "92 kB", "1.5 MB", "8 GB"]);
});
