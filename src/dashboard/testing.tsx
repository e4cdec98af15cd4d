/** Test helpers: renders a component with its own state, and example data. */
import { type ComponentChild, render } from "preact";
import { act } from "preact/test-utils";
import type { StatusResponse } from "./api/types";
import { type State, StateContext, createState } from "./state";

export interface Mounted {
  root: HTMLElement;
  state: State;
  text: () => string;
  find: <T extends Element = HTMLElement>(selector: string) => T;
  all: (selector: string) => Element[];
  click: (selector: string) => Promise<void>;
}

export async function mount(node: ComponentChild, state: State = createState()): Promise<Mounted> {
  const root = document.createElement("div");
  document.body.replaceChildren(root);
  await act(() => render(<StateContext.Provider value={state}>{node}</StateContext.Provider>, root));
  const find = <T extends Element>(selector: string): T => {
    const found = root.querySelector<T>(selector);
    if (!found) throw new Error(`no ${selector} in ${root.innerHTML}`);
    return found;
  };
  return {
    root,
    state,
    text: () => (root.textContent ?? "").replace(/\s+/g, " "),
    find,
    all: (selector) => [...root.querySelectorAll(selector)],
    async click(selector) {
      await act(() => find<HTMLElement>(selector).click());
    },
  };
}

export const flush = (): Promise<void> => act(() => new Promise<void>((done) => setTimeout(done, 0)));

export const NOW_S = 1_800_000_000;

/** Status in which only the language model has failed. */
export function makeStatus(changes: Partial<StatusResponse> = {}): StatusResponse {
  return {
    state: "healthy",
    abilities: [
      { key: "hear", title: "Listening", state: "healthy", says: "It hears you.", since_s: NOW_S },
      { key: "speak", title: "Speaking", state: "unhealthy", says: "Speech synthesis does not work.", since_s: NOW_S },
    ],
    services: [
      {
        name: "api",
        summary: "commands",
        state: "degraded",
        good: false,
        code: "dependency_down",
        message: "llm does not answer",
        since_s: NOW_S,
        needs: [
          { name: "llm", state: "unhealthy", hard: false, code: "dependency_down", message: "llm does not answer", since_s: NOW_S },
          { name: "database", state: "healthy", hard: true, code: null, message: null, since_s: NOW_S },
        ],
      },
      { name: "redis", summary: "queue", state: "healthy", good: true, code: null, message: null, since_s: NOW_S, needs: [] },
    ],
    rooms: [{ room: "kitchen", state: "listening", since_s: NOW_S }],
    probe: { at_s: NOW_S, success: true, stages_ms: { total: 2500 }, over_budget: ["stt"] },
    alerts: null,
    beat_s: 5,
    ...changes,
  };
}
