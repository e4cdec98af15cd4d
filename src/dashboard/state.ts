/**
 * What the page knows: one value, made once by `main.tsx` and once by every test.
 *
 * Nothing here talks to anybody. `link` says whether what is known is true now: whatever shows a
 * state of the house asks `trusted` first, so that nothing stays green that nobody has confirmed.
 */
import { computed, signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { BrowserShape, Now, SpokenNow, SystemShape, TurnNow } from "./api/types";

export type Link = "connecting" | "live" | "lost";
export type Entry = "unknown" | "out" | "in";

export const VIEWS = ["now", "talk", "turns", "gpu", "backups", "access"] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Route {
  view: ViewName;
  rest: string;
}

const RECENT_MAX = 20;

export function createState(hash = "") {
  const link = signal<Link>("connecting");
  const entry = signal<Entry>("unknown");
  const now = signal<Now | null>(null);
  const recent = signal<TurnNow[]>([]);
  const spoken = signal<SpokenNow | null>(null);
  return {
    link,
    entry,
    refusal: signal(""),
    now,
    heardAt: signal(0),
    recent,
    spoken,
    system: signal<SystemShape | null>(null),
    browser: signal<BrowserShape | null>(null),
    route: signal<Route>(routeOf(hash)),
    clock: signal(Date.now()),
    trusted: computed(() => (link.value === "live" ? now.value : null)),
    addTurn(turn: TurnNow): void {
      const others = recent.value.filter((one) => one.trace_id !== turn.trace_id);
      recent.value = [turn, ...others].slice(0, RECENT_MAX);
    },
  };
}

export type State = ReturnType<typeof createState>;

export function routeOf(hash: string): Route {
  const [name = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const view = VIEWS.find((one) => one === name) ?? "now";
  return { view, rest: rest.join("/") };
}

export const StateContext = createContext<State | null>(null);

export function useHouse(): State {
  const state = useContext(StateContext);
  if (!state) throw new Error("no state: wrap it in StateContext.Provider");
  return state;
}
