import { expect, test, vi } from "vitest";
import type { Api } from "../api/client";
import type { Ledger, TurnShape } from "../api/types";
import { createState, routeOf } from "../state";
import { house, settle, show } from "../testing";
import { Gpu, piecesOf } from "./Gpu";
import { Now } from "./Now";
import { createTurns, merged } from "./Turns/store";

const ledger: Ledger = {
  card: {
    name: "card",
    total_mib: 16384,
    headroom_mib: 1024,
    charged_mib: 3584,
    held_mib: 3000,
    base_mib: 300,
    other_mib: 800,
    free_mib: 9000,
    measured_mib: 3300,
  },
  models: [
    model("kokoro", 3584, 0),
    model("whisper", 0, 200),
  ],
  turns: {},
  waiting: [{ model: "whisper", session: "kitchen", waited_ms: 1200 }],
  decisions: [{ at: 1, decision: "evict", model: "whisper", reason: "kokoro needs it", code: null, charged_mib: 0, session: null }],
};

function model(name: string, charged: number, left: number): Ledger["models"][number] {
  return {
    name,
    id: name,
    task: "tts",
    state: charged ? "ready" : "absent",
    priority: 1,
    preload: true,
    declared_mib: 3584,
    measured_mib: 3000,
    charged_mib: charged,
    held_mib: charged,
    left_mib: left,
    reload_ms: 4000,
    unused_ms: null,
    leases: [],
    code: null,
  };
}

test("the pieces of the card are all of the card", () => {
  const pieces = piecesOf(ledger);
  expect(pieces.reduce((sum, one) => sum + one.mib, 0)).toBe(ledger.card.total_mib);
  expect(pieces.find((one) => one.key === "+other")?.mib).toBe(300);
  expect(pieces.find((one) => one.key === "+left")?.mib).toBe(200);
});

test("a model is moved only after a question, and a refusal is told", async () => {
  const move = vi.fn().mockRejectedValue(new Error("kokoro is in use."));
  const api = { ledger: () => Promise.resolve(ledger), move } as unknown as Api;
  const shown = await show(<Gpu api={api} />);
  await settle();
  await shown.click(".models button");
  expect(move).not.toHaveBeenCalled();
  await shown.click("dialog button.main");
  await settle();
  expect(move).toHaveBeenCalledWith("kokoro", "unload");
  expect(shown.text()).toContain("kokoro is in use.");
  expect(shown.text()).toContain("kitchen for whisper");
});

test("the front page says in words what is, and nothing once the connection is lost", async () => {
  const state = createState();
  state.now.value = house();
  state.link.value = "live";
  const shown = await show(<Now />, state);
  expect(shown.text()).toContain("All is well.");
  expect(shown.text()).toContain("kitchen");
  expect(shown.text()).toContain("answered aloud in 2.5 s");
  state.link.value = "lost";
  await settle();
  expect(shown.find("h1").textContent).toContain("the connection is lost");
  expect(shown.all("[data-state=healthy]")).toHaveLength(0);
});

const turn = (id: string, at: string): TurnShape => ({ trace_id: id, created_at: at }) as TurnShape;

test("newer turns go on top, each once", () => {
  const known = [turn("b", "2026-01-02"), turn("a", "2026-01-01")];
  const both = merged([turn("c", "2026-01-03"), turn("b", "2026-01-02")], known);
  expect(both.map((one) => one.trace_id)).toEqual(["c", "b", "a"]);
});

test("a search that was overtaken changes nothing", async () => {
  const answers: Array<(page: { turns: TurnShape[]; next: null }) => void> = [];
  const store = createTurns({ turns: () => new Promise((done) => answers.push(done)) });
  store.afresh();
  store.afresh();
  answers[1]?.({ turns: [turn("new", "2")], next: null });
  await settle();
  answers[0]?.({ turns: [turn("old", "1")], next: null });
  await settle();
  expect(store.items.value.map((one) => one.trace_id)).toEqual(["new"]);
});

test("an address that is none leads to the front page", () => {
  expect(routeOf("#/turns/abc")).toEqual({ view: "turns", rest: "abc" });
  expect(routeOf("#/../etc")).toEqual({ view: "now", rest: "etc" });
  expect(routeOf("")).toEqual({ view: "now", rest: "" });
});
