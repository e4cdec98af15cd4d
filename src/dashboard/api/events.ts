/**
 * Keeps the page up to date by server-sent events, and knows when it is not.
 *
 * The house sends a beat at least every `beat_s`. When three are missing, or the connection breaks,
 * `link` becomes "lost" at once and a new connection is tried until there is one. A refusal (401)
 * looks to EventSource like any other failure, so who is let in is asked separately.
 */
import type { State } from "../state";
import { type Api, Trouble } from "./client";
import type { Now, SpokenNow, TurnNow } from "./types";

const BEATS_MISSED = 3;
const FIRST_BEAT_S = 5;
const LOOK_EVERY_MS = 1000;
const AGAIN_MS = [500, 1000, 2000, 5000];

export interface Events {
  close(): void;
}

export function follow(
  state: State,
  api: Pick<Api, "session">,
  open: (url: string) => EventSource = (url) => new EventSource(url),
): Events {
  let source: EventSource | null = null;
  let failures = 0;
  let again: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  const heard = (): void => {
    failures = 0;
    state.heardAt.value = Date.now();
    if (state.now.value) state.link.value = "live";
  };
  const read = <T>(use: (data: T) => void) => (event: MessageEvent<string>): void => {
    use(JSON.parse(event.data) as T);
    heard();
  };

  const connect = (): void => {
    if (closed) return;
    source?.close();
    source = open("/api/events");
    source.addEventListener("now", read<Now>((now) => (state.now.value = now)));
    source.addEventListener("turn", read<TurnNow>(state.addTurn));
    source.addEventListener("spoken", read<SpokenNow>((spoken) => (state.spoken.value = spoken)));
    source.addEventListener("beat", heard);
    source.onerror = lost;
    state.heardAt.value = Date.now();
  };

  const lost = (): void => {
    if (closed) return;
    source?.close();
    source = null;
    state.link.value = "lost";
    clearTimeout(again);
    again = setTimeout(() => void retry(), AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)]);
    failures += 1;
  };

  const retry = async (): Promise<void> => {
    try {
      state.browser.value = await api.session();
      state.entry.value = "in";
    } catch (error) {
      if (error instanceof Trouble && error.status === 401) {
        state.entry.value = "out";
        return;
      }
      lost();
      return;
    }
    connect();
  };

  const watchdog = setInterval(() => {
    const beatMs = (state.now.value?.beat_s ?? FIRST_BEAT_S) * 1000;
    if (source && Date.now() - state.heardAt.value > BEATS_MISSED * beatMs) lost();
  }, LOOK_EVERY_MS);
  // A laptop that was asleep must not show what was true before it slept.
  const onShow = (): void => {
    if (document.visibilityState === "visible" && !source && state.entry.value === "in") {
      clearTimeout(again);
      void retry();
    }
  };
  document.addEventListener("visibilitychange", onShow);
  window.addEventListener("online", onShow);
  connect();
  return {
    close() {
      closed = true;
      clearTimeout(again);
      clearInterval(watchdog);
      document.removeEventListener("visibilitychange", onShow);
      window.removeEventListener("online", onShow);
      source?.close();
    },
  };
}
