/**
 * Subscription to the api's server-sent events, which keeps the state of the page up to date.
 *
 * The api sends a heartbeat every `beat_s`. When three are missing, or the connection breaks,
 * `connection` becomes "lost" and the page reconnects until it succeeds. EventSource does not report
 * a 401, so the session is checked with a separate request before reconnecting.
 */
import type { State } from "../state";
import { type Api, ApiError } from "./client";
import type { StatusResponse, TurnEvent, TurnTimingsEvent } from "./types";

const MAX_MISSED_BEATS = 3;
const DEFAULT_BEAT_S = 5;
const WATCHDOG_MS = 1000;
const RETRY_MS = [500, 1000, 2000, 5000];

export interface EventSubscription {
  close(): void;
}

export function subscribe(
  state: State,
  api: Pick<Api, "getSession">,
  open: (url: string) => EventSource = (url) => new EventSource(url),
): EventSubscription {
  let source: EventSource | null = null;
  let failures = 0;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  const onBeat = (): void => {
    failures = 0;
    state.lastEventAt.value = Date.now();
    if (state.status.value) state.connection.value = "live";
  };
  const handle = <T>(use: (data: T) => void) => (event: MessageEvent<string>): void => {
    use(JSON.parse(event.data) as T);
    onBeat();
  };

  const connect = (): void => {
    if (closed) return;
    source?.close();
    source = open("api/events");
    source.addEventListener("now", handle<StatusResponse>((status) => (state.status.value = status)));
    source.addEventListener("turn", handle<TurnEvent>(state.addTurn));
    source.addEventListener("spoken", handle<TurnTimingsEvent>((timings) => (state.lastTimings.value = timings)));
    source.addEventListener("beat", onBeat);
    source.onerror = onLost;
    state.lastEventAt.value = Date.now();
  };

  const onLost = (): void => {
    if (closed) return;
    source?.close();
    source = null;
    state.connection.value = "lost";
    clearTimeout(retryTimer);
    retryTimer = setTimeout(() => void reconnect(), RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
    failures += 1;
  };

  const reconnect = async (): Promise<void> => {
    try {
      state.session.value = await api.getSession();
      state.login.value = "logged-in";
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        state.login.value = "logged-out";
        return;
      }
      onLost();
      return;
    }
    connect();
  };

  const watchdog = setInterval(() => {
    const beatMs = (state.status.value?.beat_s ?? DEFAULT_BEAT_S) * 1000;
    if (source && Date.now() - state.lastEventAt.value > MAX_MISSED_BEATS * beatMs) onLost();
  }, WATCHDOG_MS);
  // Reconnects at once after the device was asleep or offline.
  const onWake = (): void => {
    if (document.visibilityState === "visible" && !source && state.login.value === "logged-in") {
      clearTimeout(retryTimer);
      void reconnect();
    }
  };
  document.addEventListener("visibilitychange", onWake);
  window.addEventListener("online", onWake);
  connect();
  return {
    close() {
      closed = true;
      clearTimeout(retryTimer);
      clearInterval(watchdog);
      document.removeEventListener("visibilitychange", onWake);
      window.removeEventListener("online", onWake);
      source?.close();
    },
  };
}
