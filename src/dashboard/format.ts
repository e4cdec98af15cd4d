/** Times, numbers and sizes as the reader writes them. */

const locale = (): string | undefined => navigator.languages?.[0];
const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function numbers(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `n${locale()}${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl.NumberFormat(locale(), options));
  return cache.get(key) as Intl.NumberFormat;
}

function dates(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `d${locale()}${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl.DateTimeFormat(locale(), options));
  return cache.get(key) as Intl.DateTimeFormat;
}

export function number(value: number, digits = 0): string {
  return numbers({ maximumFractionDigits: digits }).format(value);
}

const SMALLEST_MS = 0.1;

/** A duration: milliseconds below a second, then seconds with a tenth; the symbols are the SI's. */
export function took(ms: number): string {
  if (ms > 0 && ms < SMALLEST_MS) return `< ${number(SMALLEST_MS, 1)} ms`;
  if (ms < 1000) return `${number(ms, ms < 10 ? 1 : 0)} ms`;
  return `${numbers({ minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(ms / 1000)} s`;
}

/** Memory in MiB, as whole gigabytes and a tenth from 1 GiB on. */
export function memory(mib: number): string {
  if (Math.abs(mib) < 1024) return `${number(mib)} MiB`;
  return `${number(mib / 1024, 1)} GiB`;
}

/** A size in bytes, as kilobytes, megabytes and so on of a thousand each. */
export function size(bytes: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${number(value, value < 10 ? 1 : 0)} ${units[unit]}`;
}

const sameDay = (a: Date, b: Date): boolean => a.toDateString() === b.toDateString();

/** A moment: only the time today, with the day otherwise. */
export function moment(ms: number, now = Date.now()): string {
  const at = new Date(ms);
  if (sameDay(at, new Date(now))) return dates({ hour: "numeric", minute: "2-digit" }).format(at);
  return dates({ day: "numeric", month: "short", hour: "numeric", minute: "2-digit" }).format(at);
}

export function exact(ms: number): string {
  return dates({ dateStyle: "medium", timeStyle: "medium" }).format(new Date(ms));
}

export function clock(ms: number): string {
  return dates({ timeStyle: "medium" }).format(new Date(ms));
}

const STEPS: Array<[number, "second" | "minute" | "hour" | "day"]> = [
  [60, "second"],
  [3600, "minute"],
  [86_400, "hour"],
  [Infinity, "day"],
];
const JUST_NOW_MS = 10_000;
const LENGTHS = { second: 1, minute: 60, hour: 3600, day: 86_400 };

/** How long ago, in one unit. */
export function ago(ms: number, now = Date.now()): string {
  return now - ms < JUST_NOW_MS ? "just now" : `${lasting(now - ms)} ago`;
}

/** For how long something has been as it is, in one unit. */
export function since(ms: number, now = Date.now()): string {
  return now - ms < JUST_NOW_MS ? "since just now" : `for ${lasting(now - ms)}`;
}

/** A long duration in one unit. */
export function lasting(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  const [, unit] = STEPS.find(([limit]) => seconds < limit) ?? [0, "day" as const];
  const key = `n${locale()}${unit}`;
  if (!cache.has(key)) cache.set(key, new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 }));
  const format = cache.get(key) as Intl.NumberFormat;
  return format.format(Math.floor(seconds / LENGTHS[unit]));
}
