/**
 * State of the page, created once by `main.tsx` and once by every test; no input or output.
 *
 * `trusted` is the status while the connection is live, otherwise null. Components that show the
 * state of a service use it, so that nothing is shown as healthy that is not confirmed.
 */
import { computed, signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { StatusResponse, SystemResponse, TurnEvent, TurnTimingsEvent, WebSessionResponse } from "./api/types";

export type ConnectionState = "connecting" | "live" | "lost";
export type LoginState = "unknown" | "logged-out" | "logged-in";

export const VIEWS = ["status", "talk", "turns", "gpu", "backups", "access"] as const;
export type ViewName = (typeof VIEWS)[number];

/** Former names of views, in bookmarks. */
const RENAMED_VIEWS: Record<string, ViewName> = { now: "status" };

export interface Route {
  view: ViewName;
  rest: string;
}

const MAX_RECENT_TURNS = 20;

export function createState(hash = "") {
  const connection = signal<ConnectionState>("connecting");
  const login = signal<LoginState>("unknown");
  const status = signal<StatusResponse | null>(null);
  const recentTurns = signal<TurnEvent[]>([]);
  const lastTimings = signal<TurnTimingsEvent | null>(null);
  return {
    connection,
    login,
    loginError: signal(""),
    status,
    lastEventAt: signal(0),
    recentTurns,
    lastTimings,
    system: signal<SystemResponse | null>(null),
    session: signal<WebSessionResponse | null>(null),
    route: signal<Route>(parseRoute(hash)),
    nowMs: signal(Date.now()),
    trusted: computed(() => (connection.value === "live" ? status.value : null)),
    addTurn(turn: TurnEvent): void {
      const others = recentTurns.value.filter((one) => one.trace_id !== turn.trace_id);
      recentTurns.value = [turn, ...others].slice(0, MAX_RECENT_TURNS);
    },
  };
}

export type State = ReturnType<typeof createState>;

/** Returns the view and the rest of the path; the status view for an unknown path. Pure. */
export function parseRoute(hash: string): Route {
  const [name = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const view = VIEWS.find((one) => one === name) ?? RENAMED_VIEWS[name] ?? "status";
  return { view, rest: rest.join("/") };
}

export const StateContext = createContext<State | null>(null);

export function useAppState(): State {
  const state = useContext(StateContext);
  if (!state) throw new Error("no state: wrap the component in StateContext.Provider");
  return state;
}
