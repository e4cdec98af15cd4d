import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createState } from "../state";
import { makeStatus } from "../testing";
import { ApiError } from "./client";
import { type EventSubscription, subscribe } from "./events";
import type { WebSessionResponse } from "./types";

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
  emit(kind: string, data: unknown) {
    this.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) }));
  }
}

const latest = (): FakeSource => FakeSource.all.at(-1) as FakeSource;
const session = { id: "1", name: "this", since_s: 0, seen_s: 0, this: true };
let events: EventSubscription | null = null;

function start(getSession: () => Promise<WebSessionResponse> = () => Promise.resolve(session)) {
  const state = createState();
  events = subscribe(state, { getSession }, () => new FakeSource() as unknown as EventSource);
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

test("no status is trusted before the first event", () => {
  const state = start();
  expect(state.trusted.value).toBeNull();
  latest().emit("beat", {});
  expect(state.connection.value).toBe("connecting");
  latest().emit("now", makeStatus());
  expect(state.connection.value).toBe("live");
  expect(state.trusted.value?.state).toBe("healthy");
});

test("heartbeats keep the connection live; three missing ones lose it", () => {
  const state = start();
  latest().emit("now", makeStatus({ beat_s: 5 }));
  for (let beat = 0; beat < 10; beat += 1) {
    vi.advanceTimersByTime(5000);
    latest().emit("beat", {});
  }
  expect(state.connection.value).toBe("live");
  vi.advanceTimersByTime(17_000);
  expect(state.connection.value).toBe("lost");
  expect(state.trusted.value).toBeNull();
});

test("a broken connection is lost at once and retried", async () => {
  let isReachable = false;
  const state = start(() => (isReachable ? Promise.resolve(session) : Promise.reject(new ApiError("unreachable", "no"))));
  latest().emit("now", makeStatus());
  latest().onerror?.();
  expect(state.connection.value).toBe("lost");
  await vi.advanceTimersByTimeAsync(30_000);
  expect(FakeSource.all).toHaveLength(1);
  isReachable = true;
  await vi.advanceTimersByTimeAsync(6000);
  expect(FakeSource.all).toHaveLength(2);
  expect(state.connection.value).toBe("lost");
  latest().emit("now", makeStatus());
  expect(state.connection.value).toBe("live");
});

test("a revoked session ends in the login page without retries", async () => {
  const state = start(() => Promise.reject(new ApiError("unauthorized", "no", 401)));
  state.login.value = "logged-in";
  latest().onerror?.();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(state.login.value).toBe("logged-out");
  expect(FakeSource.all).toHaveLength(1);
});

test("recent turns are unique, newest first and limited", () => {
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
  for (let index = 0; index < 50; index += 1) latest().emit("turn", turn(String(index)));
  latest().emit("turn", turn("49"));
  expect(state.recentTurns.value).toHaveLength(20);
  expect(state.recentTurns.value[0]?.trace_id).toBe("49");
});
