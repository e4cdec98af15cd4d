import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createState } from "../state";
import { house } from "../testing";
import { Trouble } from "./client";
import { type Events, follow } from "./events";
import type { BrowserShape } from "./types";

class FakeSource extends EventTarget {
  static all: FakeSource[] = [];
  onerror: (() => void) | null = null;
  closed = false;
  constructor() {
    super();
    FakeSource.all.push(this);
  }
  close() {
    this.closed = true;
  }
  tell(kind: string, data: unknown) {
    this.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) }));
  }
}

const last = (): FakeSource => FakeSource.all.at(-1) as FakeSource;
const me = { id: "1", name: "me", since_s: 0, seen_s: 0, this: true };
let events: Events | null = null;

function start(session: () => Promise<BrowserShape> = () => Promise.resolve(me)) {
  const state = createState();
  events = follow(state, { session }, () => new FakeSource() as unknown as EventSource);
  return state;
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSource.all = [];
});

afterEach(() => {
  events?.close();
  vi.useRealTimers();
});

test("nothing is trusted before the house has said how it is", () => {
  const state = start();
  expect(state.trusted.value).toBeNull();
  last().tell("beat", {});
  expect(state.link.value).toBe("connecting");
  last().tell("now", house());
  expect(state.link.value).toBe("live");
  expect(state.trusted.value?.state).toBe("healthy");
});

test("beats keep it alive; when three are missing it is lost, and nothing stays green", () => {
  const state = start();
  last().tell("now", house({ beat_s: 5 }));
  for (let beat = 0; beat < 10; beat += 1) {
    vi.advanceTimersByTime(5000);
    last().tell("beat", {});
  }
  expect(state.link.value).toBe("live");
  vi.advanceTimersByTime(17_000);
  expect(state.link.value).toBe("lost");
  expect(state.trusted.value).toBeNull();
});

test("a broken connection is lost at once, and tried again until there is one", async () => {
  let answers = false;
  const state = start(() => (answers ? Promise.resolve(me) : Promise.reject(new Trouble("unreachable", "no"))));
  last().tell("now", house());
  last().onerror?.();
  expect(state.link.value).toBe("lost");
  await vi.advanceTimersByTimeAsync(30_000);
  expect(FakeSource.all).toHaveLength(1);
  answers = true;
  await vi.advanceTimersByTimeAsync(6000);
  expect(FakeSource.all).toHaveLength(2);
  expect(state.link.value).toBe("lost");
  last().tell("now", house());
  expect(state.link.value).toBe("live");
});

test("whoever is no longer let in is shown the door, not a retry for ever", async () => {
  const state = start(() => Promise.reject(new Trouble("unauthorized", "no", 401)));
  state.entry.value = "in";
  last().onerror?.();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(state.entry.value).toBe("out");
  expect(FakeSource.all).toHaveLength(1);
});

test("turns come newest first, each once, and not for ever more", () => {
  const state = start();
  const turn = (id: string) => ({
    trace_id: id,
    session_id: "s",
    utterance: "u",
    reply: "r",
    intent: "time",
    degraded: [],
    code: null,
    total_ms: 1,
  });
  for (let index = 0; index < 50; index += 1) last().tell("turn", turn(String(index)));
  last().tell("turn", turn("49"));
  expect(state.recent.value).toHaveLength(20);
  expect(state.recent.value[0]?.trace_id).toBe("49");
});
