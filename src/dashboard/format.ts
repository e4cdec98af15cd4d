/** Formatting of times, numbers and sizes in the locale of the browser. */

const locale = (): string | undefined => navigator.languages?.[0];
const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function getNumberFormat(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `n${locale()}${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl.NumberFormat(locale(), options));
  return cache.get(key) as Intl.NumberFormat;
}

function getDateFormat(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `d${locale()}${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl.DateTimeFormat(locale(), options));
  return cache.get(key) as Intl.DateTimeFormat;
}

export function formatNumber(value: number, digits = 0): string {
  return getNumberFormat({ maximumFractionDigits: digits }).format(value);
}

const MIN_SHOWN_MS = 0.1;

/** Milliseconds below a second, then seconds with one decimal. */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms < MIN_SHOWN_MS) return `< ${formatNumber(MIN_SHOWN_MS, 1)} ms`;
  if (ms < 1000) return `${formatNumber(ms, ms < 10 ? 1 : 0)} ms`;
  return `${getNumberFormat({ minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(ms / 1000)} s`;
}

/** Memory in MiB, from 1024 MiB on in GiB with one decimal. */
export function formatMemory(mib: number): string {
  if (Math.abs(mib) < 1024) return `${formatNumber(mib)} MiB`;
  return `${formatNumber(mib / 1024, 1)} GiB`;
}

/** Bytes in decimal units from kB to TB. */
export function formatBytes(bytes: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${formatNumber(value, value < 10 ? 1 : 0)} ${units[unit]}`;
}

const isSameDay = (a: Date, b: Date): boolean => a.toDateString() === b.toDateString();

/** Time of day, with the date unless it is today. */
export function formatTime(ms: number, now = Date.now()): string {
  const at = new Date(ms);
  if (isSameDay(at, new Date(now))) return getDateFormat({ hour: "numeric", minute: "2-digit" }).format(at);
  return getDateFormat({ day: "numeric", month: "short", hour: "numeric", minute: "2-digit" }).format(at);
}

export function formatExactTime(ms: number): string {
  return getDateFormat({ dateStyle: "medium", timeStyle: "medium" }).format(new Date(ms));
}

export function formatClockTime(ms: number): string {
  return getDateFormat({ timeStyle: "medium" }).format(new Date(ms));
}

const UNIT_LIMITS_S: Array<[number, "second" | "minute" | "hour" | "day"]> = [
  [60, "second"],
  [3600, "minute"],
  [86_400, "hour"],
  [Infinity, "day"],
];
const JUST_NOW_MS = 10_000;
const UNIT_S = { second: 1, minute: 60, hour: 3600, day: 86_400 };

/** Time since `ms`, in one unit: "3 minutes ago". */
export function formatAge(ms: number, now = Date.now()): string {
  return now - ms < JUST_NOW_MS ? "just now" : `${formatLongDuration(now - ms)} ago`;
}

/** Duration of a state that began at `ms`, in one unit: "for 3 minutes". */
export function formatSince(ms: number, now = Date.now()): string {
  return now - ms < JUST_NOW_MS ? "just now" : `for ${formatLongDuration(now - ms)}`;
}

/** Duration in the largest whole unit. */
export function formatLongDuration(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  const [, unit] = UNIT_LIMITS_S.find(([limit]) => seconds < limit) ?? [0, "day" as const];
  const key = `n${locale()}${unit}`;
  if (!cache.has(key)) cache.set(key, new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 }));
  const format = cache.get(key) as Intl.NumberFormat;
  return format.format(Math.floor(seconds / UNIT_S[unit]));
}
