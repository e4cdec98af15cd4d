/** Starts the page: who is asking, what the house is made of, and what happens from then on. */
import "./theme.css";
import { render } from "preact";
import { App } from "./app";
import { Trouble, api } from "./api/client";
import { type Events, follow } from "./api/events";
import { createState, routeOf } from "./state";
import { createCall } from "./talk/call";
import { createTurns } from "./views/Turns/store";

const CLOCK_MS = 15_000; // how often "3 minutes ago" is looked at again
const REFUSALS: Record<string, string> = { link_used: "That link has been used or is too old." };

const state = createState(location.hash);
const turns = createTurns(api);
const call = createCall(api, roomName());
let events: Events | null = null;

/** A name for this browser's room, the same after a reload, so that it replaces its own ghost. */
function roomName(): string {
  const known = localStorage.getItem("room");
  if (known) return known;
  const made = `page-${Math.random().toString(36).slice(2, 8)}`;
  localStorage.setItem("room", made);
  return made;
}

async function enter(): Promise<void> {
  try {
    state.browser.value = await api.session();
  } catch (error) {
    if (error instanceof Trouble && error.status === 401) {
      leave();
      return;
    }
    state.link.value = "lost";
  }
  state.entry.value = "in";
  events?.close();
  events = follow(state, api);
  const learn = async (): Promise<void> => {
    try {
      state.system.value = await api.system();
    } catch {
      setTimeout(() => void learn(), CLOCK_MS);
    }
  };
  void learn();
  void recall();
}

/** Shows the last turn before anything new is said. */
async function recall(): Promise<void> {
  try {
    const [last] = (await api.turns("", null, 1)).turns;
    if (last && state.recent.value.length === 0) {
      state.recent.value = [{ ...last, code: null, total_ms: last.latency_ms.total ?? 0 }];
    }
  } catch {
    // the next turn will be told anyway
  }
}

function leave(): void {
  events?.close();
  events = null;
  call.hangUp();
  state.now.value = null;
  state.recent.value = [];
  turns.items.value = [];
  state.entry.value = "out";
}

const refused = new URLSearchParams(location.search).get("refused");
if (refused) {
  state.refusal.value = REFUSALS[refused] ?? "That did not let you in.";
  history.replaceState(null, "", `/${location.hash}`);
}
window.addEventListener("hashchange", () => (state.route.value = routeOf(location.hash)));
window.addEventListener("pagehide", () => call.hangUp());
setInterval(() => {
  if (document.visibilityState === "visible") state.clock.value = Date.now();
}, CLOCK_MS);
state.entry.subscribe((entry) => {
  if (entry === "out" && events) leave();
});

const root = document.getElementById("app");
if (root) render(<App state={state} api={api} call={call} turns={turns} onIn={() => void enter()} onOut={leave} />, root);
void enter();
if (import.meta.env.PROD && "serviceWorker" in navigator && window.isSecureContext) {
  void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
}
