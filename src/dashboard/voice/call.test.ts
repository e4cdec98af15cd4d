import { expect, test, vi } from "vitest";
import type { Exchange } from "../components/Conversation";
import { applyMessage, createCall } from "./call";
import { describeProblem } from "./microphone";

const transcript = { type: "transcript", text: "what time is it", trace_id: "t1" };
const reply = { type: "reply", text: "It's noon.", trace_id: "t1" };

test("messages of one turn are collected, with their times", () => {
  let exchanges: Exchange[] = [];
  exchanges = applyMessage(exchanges, transcript, 640);
  exchanges = applyMessage(exchanges, reply, 700);
  exchanges = applyMessage(exchanges, { type: "state", state: "speaking" }, 900);
  exchanges = applyMessage(exchanges, { type: "state", state: "speaking" }, 950);
  exchanges = applyMessage(exchanges, { type: "heard", text: "It's", trace_id: "t1" }, null);
  expect(exchanges).toHaveLength(1);
  expect(exchanges[0]).toMatchObject({ utterance: "what time is it", reply: "It's noon.", heard: "It's", isSpoken: true });
  expect(exchanges[0]?.times).toEqual([
    ["understood", 640],
    ["answered", 700],
    ["first sound", 900],
  ]);
});

test("turns are separate, and a failed one has its error", () => {
  let exchanges = applyMessage([], transcript, null);
  exchanges = applyMessage(exchanges, { ...transcript, trace_id: "t2" }, null);
  exchanges = applyMessage(exchanges, { type: "error", code: "dependency_down", message: "gpu does not answer.", trace_id: "t2" }, null);
  expect(exchanges.map((one) => one.error)).toEqual(["", "gpu does not answer."]);
});

test("unknown messages change nothing", () => {
  const exchanges = applyMessage([], transcript, null);
  expect(applyMessage(exchanges, { type: "state", state: "asleep" }, null)).toBe(exchanges);
  expect(applyMessage(exchanges, { type: "other" }, null)).toBe(exchanges);
});

test("every microphone error has its own message", () => {
  const named = (name: string): string => describeProblem(new DOMException("x", name)).title;
  const titles = new Set(["NotAllowedError", "NotFoundError", "NotReadableError", "Other"].map(named));
  expect(titles.size).toBe(4);
});

test("on an insecure page the problem is explained and typing works", async () => {
  const sendCommand = vi.fn().mockResolvedValue({ reply: "It's noon.", trace_id: "t9" });
  const call = createCall({ sendOffer: vi.fn(), sendCandidates: vi.fn(), sendCommand }, "page-1");
  vi.stubGlobal("isSecureContext", false);
  call.setTalking(true);
  await vi.waitFor(() => expect(call.problem.value?.title).toContain("not secure"));
  expect(call.state.value).toBe("off");
  await call.sendText("what time is it");
  expect(call.exchanges.value[0]).toMatchObject({ reply: "It's noon.", traceId: "t9", isSpoken: false });
  vi.unstubAllGlobals();
});

test("a refused command keeps the typed text and the error", async () => {
  const sendCommand = vi.fn().mockRejectedValue(new Error("Too many requests."));
  const call = createCall({ sendOffer: vi.fn(), sendCandidates: vi.fn(), sendCommand }, "page-1");
  await call.sendText("hello");
  expect(call.exchanges.value[0]).toMatchObject({ utterance: "hello", error: "Too many requests." });
});
