/** Entry point of the page: creates the state, checks the session and subscribes to events. */
import "./theme.css";
import { render } from "preact";
import { App } from "./app";
import { ApiError, api } from "./api/client";
import { type EventSubscription, subscribe } from "./api/events";
import { createState, parseRoute } from "./state";
import { createTurnList } from "./views/Turns/store";
import { createCall } from "./voice/call";

const REFRESH_MS = 15_000; // of relative times such as "3 minutes ago"
const LOGIN_ERRORS: Record<string, string> = { link_used: "The link was already used or has expired." };

const state = createState(location.hash);
const turns = createTurnList(api);
const call = createCall(api, readRoomName());
let events: EventSubscription | null = null;

/** Returns the room of this browser, the same after a reload, so that it replaces its old connection. */
function readRoomName(): string {
  const stored = localStorage.getItem("room");
  if (stored) return stored;
  const created = `page-${Math.random().toString(36).slice(2, 8)}`;
  localStorage.setItem("room", created);
  return created;
}

async function startSession(): Promise<void> {
  try {
    state.session.value = await api.getSession();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      endSession();
      return;
    }
    state.connection.value = "lost";
  }
  state.login.value = "logged-in";
  events?.close();
  events = subscribe(state, api);
  void loadSystem();
  void loadLastTurn();
}

async function loadSystem(): Promise<void> {
  try {
    state.system.value = await api.getSystem();
  } catch {
    setTimeout(() => void loadSystem(), REFRESH_MS);
  }
}

async function loadLastTurn(): Promise<void> {
  try {
    const [last] = (await api.listTurns("", null, 1)).turns;
    if (last && state.recentTurns.value.length === 0) {
      state.recentTurns.value = [{ ...last, code: null, total_ms: last.latency_ms.total ?? 0 }];
    }
  } catch {
    // the next turn arrives as an event
  }
}

function endSession(): void {
  events?.close();
  events = null;
  call.hangUp();
  state.status.value = null;
  state.recentTurns.value = [];
  turns.items.value = [];
  state.login.value = "logged-out";
}

const refusal = new URLSearchParams(location.search).get("refused");
if (refusal) {
  state.loginError.value = LOGIN_ERRORS[refusal] ?? "The login failed.";
  history.replaceState(null, "", `./${location.hash}`);
}
window.addEventListener("hashchange", () => (state.route.value = parseRoute(location.hash)));
window.addEventListener("pagehide", () => call.hangUp());
setInterval(() => {
  if (document.visibilityState === "visible") state.nowMs.value = Date.now();
}, REFRESH_MS);
state.login.subscribe((login) => {
  if (login === "logged-out" && events) endSession();
});

const root = document.getElementById("app");
if (root) {
  render(
    <App state={state} api={api} call={call} turns={turns} onLogin={() => void startSession()} onLogout={endSession} />,
    root,
  );
}
void startSession();
if (import.meta.env.PROD && "serviceWorker" in navigator && window.isSecureContext) {
  void navigator.serviceWorker.register("sw.js").catch(() => undefined);
}
