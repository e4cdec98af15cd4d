import { expect, test, vi } from "vitest";
import type { Said } from "../components/Conversation";
import { createCall, told } from "./call";
import { problemOf } from "./microphone";

const transcript = { type: "transcript", text: "what time is it", trace_id: "t1" };
const reply = { type: "reply", text: "It's noon.", trace_id: "t1" };

test("a turn grows by what the voice tells of it, with the times as they happen", () => {
  let said: Said[] = [];
  said = told(said, transcript, 640);
  said = told(said, reply, 700);
  said = told(said, { type: "state", state: "speaking" }, 900);
  said = told(said, { type: "state", state: "speaking" }, 950);
  said = told(said, { type: "heard", text: "It's", trace_id: "t1" }, null);
  expect(said).toHaveLength(1);
  expect(said[0]).toMatchObject({ utterance: "what time is it", reply: "It's noon.", heard: "It's", aloud: true });
  expect(said[0]?.times).toEqual([
    ["understood", 640],
    ["answered", 700],
    ["first sound", 900],
  ]);
});

test("two turns are two, and a turn that failed says why", () => {
  let said = told([], transcript, null);
  said = told(said, { ...transcript, trace_id: "t2" }, null);
  said = told(said, { type: "error", code: "dependency_down", message: "gpu does not answer.", trace_id: "t2" }, null);
  expect(said.map((one) => one.trouble)).toEqual(["", "gpu does not answer."]);
});

test("what is not known changes nothing", () => {
  const said = told([], transcript, null);
  expect(told(said, { type: "state", state: "asleep" }, null)).toBe(said);
  expect(told(said, { type: "news" }, null)).toBe(said);
});

test("each reason for no microphone has words of its own", () => {
  const named = (name: string): string => problemOf(new DOMException("x", name)).title;
  const titles = new Set(["NotAllowedError", "NotFoundError", "NotReadableError", "Other"].map(named));
  expect(titles.size).toBe(4);
});

test("without a secure page the button says so, and typing works", async () => {
  const say = vi.fn().mockResolvedValue({ reply: "It's noon.", trace_id: "t9" });
  const call = createCall({ offer: vi.fn(), late: vi.fn(), say }, "page-1");
  vi.stubGlobal("isSecureContext", false);
  call.button(true);
  await vi.waitFor(() => expect(call.problem.value?.title).toContain("not secure"));
  expect(call.state.value).toBe("off");
  await call.type("what time is it");
  expect(call.said.value[0]).toMatchObject({ reply: "It's noon.", traceId: "t9", aloud: false });
  vi.unstubAllGlobals();
});

test("a refused sentence keeps what was typed beside the reason", async () => {
  const say = vi.fn().mockRejectedValue(new Error("Too many requests."));
  const call = createCall({ offer: vi.fn(), late: vi.fn(), say }, "page-1");
  await call.type("hello");
  expect(call.said.value[0]).toMatchObject({ utterance: "hello", trouble: "Too many requests." });
});
