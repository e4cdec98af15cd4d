/** HTTP client of the api. */
import type {
  BackupsResponse,
  CommandResponse,
  LoginLinkResponse,
  ModelMoved,
  SystemResponse,
  TurnPage,
  VoiceAnswer,
  VoiceIceCandidates,
  VoiceOffer,
  VramLedgerResponse,
  WaterfallResponse,
  WebSessionResponse,
} from "./types";

/** Failed request, with the code and message of the api's error response. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

export const UNREACHABLE = "unreachable";
const UNREACHABLE_MESSAGE = "The assistant does not answer.";

async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
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
    throw new ApiError(UNREACHABLE, UNREACHABLE_MESSAGE);
  }
  const text = await response.text();
  let content: unknown = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    content = null;
  }
  if (response.ok) return content as T;
  const details = (content ?? {}) as { code?: string; message?: string };
  const isProxyError = response.status >= 502 && response.status <= 504 && !details.code;
  throw new ApiError(
    details.code ?? (isProxyError ? UNREACHABLE : "internal"),
    details.message ?? (isProxyError ? UNREACHABLE_MESSAGE : `The request failed with status ${response.status}.`),
    response.status,
  );
}

const makeQuery = (fields: Record<string, string | number | null | undefined>): string => {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
};

export const api = {
  getSession: () => request<WebSessionResponse>("GET", "api/session"),
  logIn: (token: string) => request<null>("POST", "api/login", { token }),
  logOut: () => request<null>("POST", "api/logout"),
  listSessions: () => request<WebSessionResponse[]>("GET", "api/browsers"),
  revokeSession: (id: string) => request<null>("DELETE", `api/browsers/${id}`),
  createLoginLink: () => request<LoginLinkResponse>("POST", "api/links"),
  getSystem: () => request<SystemResponse>("GET", "api/system"),
  listTurns: (search: string, before: string | null, limit: number, signal?: AbortSignal) =>
    request<TurnPage>("GET", `v1/turns${makeQuery({ search, before, limit })}`, undefined, signal),
  getWaterfall: (trace: string, signal?: AbortSignal) =>
    request<WaterfallResponse>("GET", `v1/turns/${trace}/waterfall`, undefined, signal),
  sendCommand: (utterance: string, session: string) =>
    request<CommandResponse>("POST", "v1/command", { utterance, session_id: session }),
  getVramLedger: () => request<VramLedgerResponse>("GET", "api/gpu"),
  moveModel: (model: string, action: "load" | "unload") =>
    request<ModelMoved>("POST", `api/gpu/models/${encodeURIComponent(model)}/${action}`),
  getBackups: () => request<BackupsResponse>("GET", "v1/backups"),
  requestDrill: () => request<null>("POST", "v1/backups/rehearse"),
  sendOffer: (offer: VoiceOffer) => request<VoiceAnswer>("POST", "api/talk/offer", offer),
  sendCandidates: (candidates: VoiceIceCandidates) => request<null>("PATCH", "api/talk/offer", candidates),
};

export type Api = typeof api;
