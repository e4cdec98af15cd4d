/** How the page asks the api: one function, its errors, and the few calls there are. */
import type {
  Answer,
  BackupsNow,
  BrowserShape,
  Ledger,
  Link,
  Moved,
  SystemShape,
  TalkAnswer,
  TalkCandidates,
  TalkOffer,
  TurnPage,
  WaterfallShape,
} from "./types";

/** Something went wrong: `code` and `message` are the house's own words. */
export class Trouble extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

export const UNREACHABLE = "unreachable";

async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, credentials: "same-origin", cache: "no-store" };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Trouble(UNREACHABLE, "The house does not answer.");
  }
  const text = await response.text();
  let found: unknown = null;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    found = null;
  }
  if (response.ok) return found as T;
  const told = (found ?? {}) as { code?: string; message?: string };
  const gone = response.status >= 502 && response.status <= 504 && !told.code;
  throw new Trouble(
    told.code ?? (gone ? UNREACHABLE : "internal"),
    told.message ?? (gone ? "The house does not answer." : `It answered with status ${response.status}.`),
    response.status,
  );
}

const query = (fields: Record<string, string | number | null | undefined>): string => {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
};

export const api = {
  session: () => ask<BrowserShape>("GET", "/api/session"),
  login: (token: string) => ask<null>("POST", "/api/login", { token }),
  logout: () => ask<null>("POST", "/api/logout"),
  browsers: () => ask<BrowserShape[]>("GET", "/api/browsers"),
  showOut: (id: string) => ask<null>("DELETE", `/api/browsers/${id}`),
  link: () => ask<Link>("POST", "/api/links"),
  system: () => ask<SystemShape>("GET", "/api/system"),
  turns: (search: string, before: string | null, limit: number, signal?: AbortSignal) =>
    ask<TurnPage>("GET", `/v1/turns${query({ search, before, limit })}`, undefined, signal),
  waterfall: (trace: string, signal?: AbortSignal) =>
    ask<WaterfallShape>("GET", `/v1/turns/${trace}/waterfall`, undefined, signal),
  say: (utterance: string, session: string) =>
    ask<Answer>("POST", "/v1/command", { utterance, session_id: session }),
  ledger: () => ask<Ledger>("GET", "/api/gpu"),
  move: (model: string, how: "load" | "unload") =>
    ask<Moved>("POST", `/api/gpu/models/${encodeURIComponent(model)}/${how}`),
  backups: () => ask<BackupsNow>("GET", "/v1/backups"),
  rehearse: () => ask<null>("POST", "/v1/backups/rehearse"),
  offer: (offer: TalkOffer) => ask<TalkAnswer>("POST", "/api/talk/offer", offer),
  late: (candidates: TalkCandidates) => ask<null>("PATCH", "/api/talk/offer", candidates),
};

export type Api = typeof api;
