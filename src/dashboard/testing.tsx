/** Puts a part of the page into a document, with a state of its own. For tests. */
import { type ComponentChild, render } from "preact";
import { act } from "preact/test-utils";
import type { Now } from "./api/types";
import { type State, StateContext, createState } from "./state";

export interface Shown {
  root: HTMLElement;
  state: State;
  text: () => string;
  find: <T extends Element = HTMLElement>(selector: string) => T;
  all: (selector: string) => Element[];
  click: (selector: string) => Promise<void>;
}

export async function show(node: ComponentChild, state: State = createState()): Promise<Shown> {
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

export const settle = (): Promise<void> => act(() => new Promise<void>((done) => setTimeout(done, 0)));

export const AT_S = 1_800_000_000;

/** A house that is well but for its language model. */
export function house(changes: Partial<Now> = {}): Now {
  return {
    state: "healthy",
    abilities: [
      { key: "hear", title: "Hear", state: "healthy", says: "It hears you.", since_s: AT_S },
      { key: "speak", title: "Speak", state: "unhealthy", says: "It has lost its voice.", since_s: AT_S },
    ],
    services: [
      {
        name: "api",
        summary: "commands",
        state: "degraded",
        good: false,
        code: "dependency_down",
        message: "llm does not answer",
        since_s: AT_S,
        needs: [
          { name: "llm", state: "unhealthy", hard: false, code: "dependency_down", message: "llm does not answer", since_s: AT_S },
          { name: "database", state: "healthy", hard: true, code: null, message: null, since_s: AT_S },
        ],
      },
      { name: "redis", summary: "queue", state: "healthy", good: true, code: null, message: null, since_s: AT_S, needs: [] },
    ],
    rooms: [{ room: "kitchen", state: "listening", since_s: AT_S }],
    probe: { at_s: AT_S, success: true, stages_ms: { total: 2500 }, over_budget: ["stt"] },
    alerts: null,
    beat_s: 5,
    ...changes,
  };
}
