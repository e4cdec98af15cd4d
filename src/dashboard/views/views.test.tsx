import { expect, test, vi } from "vitest";
import type { Api } from "../api/client";
import type { TurnResponse, VramLedgerResponse } from "../api/types";
import { createState, parseRoute } from "../state";
import { flush, makeStatus, mount } from "../testing";
import { Gpu, listMemorySegments } from "./Gpu";
import { Status } from "./Status";
import { createTurnList, mergeTurns } from "./Turns/store";

const ledger: VramLedgerResponse = {
  card: {
    name: "GPU",
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

function model(name: string, charged: number, left: number): VramLedgerResponse["models"][number] {
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

test("memory segments add up to the total memory", () => {
  const segments = listMemorySegments(ledger);
  expect(segments.reduce((sum, one) => sum + one.mib, 0)).toBe(ledger.card.total_mib);
  expect(segments.find((one) => one.key === "+other")?.mib).toBe(300);
  expect(segments.find((one) => one.key === "+left")?.mib).toBe(200);
});

test("a model is moved only after confirmation, and an error is shown", async () => {
  const moveModel = vi.fn().mockRejectedValue(new Error("kokoro is in use."));
  const api = { getVramLedger: () => Promise.resolve(ledger), moveModel } as unknown as Api;
  const mounted = await mount(<Gpu api={api} />);
  await flush();
  await mounted.click(".models button");
  expect(moveModel).not.toHaveBeenCalled();
  await mounted.click("dialog button.primary");
  await flush();
  expect(moveModel).toHaveBeenCalledWith("kokoro", "unload");
  expect(mounted.text()).toContain("kokoro is in use.");
  expect(mounted.text()).toContain("kitchen for whisper");
});

test("the status view shows nothing as healthy once the connection is lost", async () => {
  const state = createState();
  state.status.value = makeStatus();
  state.connection.value = "live";
  const mounted = await mount(<Status />, state);
  expect(mounted.text()).toContain("Everything works.");
  expect(mounted.text()).toContain("kitchen");
  expect(mounted.text()).toContain("aloud in 2.5 s");
  state.connection.value = "lost";
  await flush();
  expect(mounted.find("h1").textContent).toContain("the connection is lost");
  expect(mounted.all("[data-state=healthy]")).toHaveLength(0);
});

const turn = (id: string, at: string): TurnResponse => ({ trace_id: id, created_at: at }) as TurnResponse;

test("newer turns come first, without duplicates", () => {
  const known = [turn("b", "2026-01-02"), turn("a", "2026-01-01")];
  const merged = mergeTurns([turn("c", "2026-01-03"), turn("b", "2026-01-02")], known);
  expect(merged.map((one) => one.trace_id)).toEqual(["c", "b", "a"]);
});

test("an outdated search result is ignored", async () => {
  const answers: Array<(page: { turns: TurnResponse[]; next: null }) => void> = [];
  const store = createTurnList({ listTurns: () => new Promise((done) => answers.push(done)) });
  store.reload();
  store.reload();
  answers[1]?.({ turns: [turn("new", "2")], next: null });
  await flush();
  answers[0]?.({ turns: [turn("old", "1")], next: null });
  await flush();
  expect(store.items.value.map((one) => one.trace_id)).toEqual(["new"]);
});

test("an unknown path leads to the status view", () => {
  expect(parseRoute("#/turns/abc")).toEqual({ view: "turns", rest: "abc" });
  expect(parseRoute("#/../etc")).toEqual({ view: "status", rest: "etc" });
  expect(parseRoute("#/now")).toEqual({ view: "status", rest: "" });
  expect(parseRoute("")).toEqual({ view: "status", rest: "" });
});
