/**
 * A conversation of this page with the house: what is connected, what was said, what is wrong.
 *
 * `button` presses and lets go, `listen` leaves the microphone open for the wake word, `type` asks
 * in writing. What the voice tells is turned into `said` by `told`, which is pure.
 */
import { signal } from "@preact/signals";
import { type Api, Trouble } from "../api/client";
import type { Said } from "../components/Conversation";
import { type Message, type TalkLink, openLink } from "./link";
import { NoMicrophone, type Problem, levelOf, openMicrophone } from "./microphone";

export type CallState = "off" | "connecting" | "on" | "lost";

const AGAIN_MS = 3000;
const SAID_MAX = 50;
export const FINAL = new Set(["replaced", "unauthorized"]);

const blank = (id: string): Said => ({
  id,
  utterance: "",
  reply: "",
  aloud: false,
  trouble: "",
  heard: null,
  times: [],
  traceId: "",
});

/** What was said, after a message of the voice; `sinceMs` is how long ago the person was done. Pure. */
export function told(said: Said[], message: Message, sinceMs: number | null): Said[] {
  const text = (name: string): string => String(message[name] ?? "");
  const traceId = text("trace_id");
  const before = said.find((one) => traceId && one.traceId === traceId);
  const change = (one: Said, step: string | null, fields: Partial<Said>): Said[] => {
    const times: Said["times"] =
      step !== null && sinceMs !== null ? [...one.times, [step, Math.round(sinceMs)]] : one.times;
    const next: Said = { ...one, ...fields, times };
    return said.includes(one)
      ? said.map((other) => (other === one ? next : other))
      : [...said, next].slice(-SAID_MAX);
  };
  const here = before ?? blank(traceId || String(said.length));
  switch (message.type) {
    case "transcript":
      return change(here, "understood", { utterance: text("text"), traceId });
    case "reply":
      return change(here, "answered", { reply: text("text"), aloud: true, traceId });
    case "heard":
      return change(here, null, { heard: text("text"), traceId });
    case "error":
      return change(here, null, { trouble: text("message"), traceId });
    case "state": {
      const last = said.at(-1);
      const first = message.state === "speaking" && last?.reply && !last.times.some(([name]) => name === "first sound");
      return first && last ? change(last, "first sound", {}) : said;
    }
    default:
      return said;
  }
}

export function createCall(api: Pick<Api, "offer" | "late" | "say">, room: string) {
  const state = signal<CallState>("off");
  const doing = signal("asleep");
  const problem = signal<Problem | null>(null);
  const said = signal<Said[]>([]);
  const listening = signal(false);
  const holding = signal(false);
  const playing = new Audio();
  let session = `page-${room}`;
  let link: TalkLink | null = null;
  let microphone: MediaStream | null = null;
  let meter: ReturnType<typeof levelOf> | null = null;
  let ready = false;
  let wanted = false;
  let doneAt: number | null = null;
  let again: ReturnType<typeof setTimeout> | undefined;

  const open = (): void => {
    const on = listening.value || holding.value;
    for (const track of microphone?.getAudioTracks() ?? []) track.enabled = on;
  };

  const onMessage = (message: Message): void => {
    if (message.type === "ready") {
      ready = true;
      session = String(message.session ?? session);
      state.value = "on";
      problem.value = null;
      if (holding.value) link?.send({ type: "talk", on: true });
    }
    if (message.type === "state") {
      doing.value = String(message.state);
      if (doing.value === "thinking" && doneAt === null) doneAt = performance.now();
    }
    const sinceMs = doneAt === null ? null : performance.now() - doneAt;
    said.value = told(said.value, message, sinceMs);
    if (message.type === "state" && message.state !== "thinking") doneAt = null;
    if (message.type === "error" && FINAL.has(String(message.code))) {
      wanted = false;
      problem.value = { title: String(message.message), text: "" };
    }
  };

  const drop = (): void => {
    link?.close();
    link = null;
    ready = false;
    doing.value = "asleep";
  };

  const onLost = (): void => {
    drop();
    if (!wanted) {
      hangUp();
      return;
    }
    state.value = "lost";
    problem.value = { title: "The voice does not answer. Trying again.", text: "Typing may still work." };
    again = setTimeout(() => void connect(), AGAIN_MS);
  };

  const connect = async (): Promise<void> => {
    clearTimeout(again);
    if (link || (state.value === "connecting" && microphone)) return;
    wanted = true;
    state.value = "connecting";
    try {
      if (!microphone) {
        microphone = await openMicrophone();
        meter = levelOf(microphone);
      }
      open();
      link = await openLink(api, microphone, room, {
        onMessage,
        onLost,
        onSound(stream) {
          playing.srcObject = stream;
          void playing.play().catch(() => undefined);
        },
      });
    } catch (error) {
      if (error instanceof NoMicrophone) {
        hangUp();
        problem.value = error.problem;
      } else if (error instanceof Trouble && error.status >= 400 && error.status < 500) {
        hangUp();
        problem.value = { title: error.message, text: "" };
      } else onLost();
    }
  };

  const hangUp = (): void => {
    wanted = false;
    clearTimeout(again);
    drop();
    meter?.close();
    meter = null;
    for (const track of microphone?.getTracks() ?? []) track.stop();
    microphone = null;
    playing.srcObject = null;
    state.value = "off";
    listening.value = false;
    holding.value = false;
  };

  const button = (on: boolean): void => {
    if (holding.value === on) return;
    holding.value = on;
    if (on) {
      problem.value = null;
      doneAt = null;
      open();
      if (ready) link?.send({ type: "talk", on: true });
      else void connect();
    } else {
      doneAt = performance.now();
      link?.send({ type: "talk", on: false });
      setTimeout(open, 400); // the last word is still on its way
    }
  };

  const listen = (on: boolean): void => {
    listening.value = on;
    if (on) void connect();
    open();
  };

  const type = async (utterance: string): Promise<void> => {
    const id = `typed-${Date.now()}`;
    const begun = performance.now();
    said.value = [...said.value, { ...blank(id), utterance }].slice(-SAID_MAX);
    const change = (fields: Partial<Said>): void => {
      said.value = said.value.map((one) => (one.id === id ? { ...one, ...fields } : one));
    };
    try {
      const answer = await api.say(utterance, session);
      change({ reply: answer.reply, traceId: answer.trace_id, times: [["answered", performance.now() - begun]] });
    } catch (error) {
      change({ trouble: error instanceof Error ? error.message : String(error) });
    }
  };

  return {
    room,
    state,
    doing,
    problem,
    said,
    listening,
    holding,
    button,
    listen,
    type,
    hangUp,
    hush: () => void link?.send({ type: "stop" }),
    level: () => (microphone && (listening.value || holding.value) ? (meter?.level() ?? 0) : 0),
  };
}

export type Call = ReturnType<typeof createCall>;
