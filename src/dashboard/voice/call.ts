/**
 * Voice call of this page: connection, microphone, conversation and problems.
 *
 * `setTalking` is the talk button, `setListening` leaves the microphone open for the wake word,
 * `sendText` sends typed text.
 */
import { signal } from "@preact/signals";
import { type Api, ApiError } from "../api/client";
import type { Exchange } from "../components/Conversation";
import { type Message, type VoiceConnection, openConnection } from "./connection";
import { type Problem, MicrophoneError, createLevelMeter, openMicrophone } from "./microphone";

export type CallState = "off" | "connecting" | "on" | "lost";

const RETRY_MS = 3000;
const MAX_EXCHANGES = 50;
/** Error codes after which the page does not reconnect. */
export const FINAL_CODES = new Set(["replaced", "unauthorized"]);

const makeExchange = (id: string): Exchange => ({
  id,
  utterance: "",
  reply: "",
  isSpoken: false,
  error: "",
  heard: null,
  times: [],
  traceId: "",
});

/** Returns the conversation after a message of the voice service; `sinceMs` is the time since the end of speech. Pure. */
export function applyMessage(exchanges: Exchange[], message: Message, sinceMs: number | null): Exchange[] {
  const text = (name: string): string => String(message[name] ?? "");
  const traceId = text("trace_id");
  const before = exchanges.find((one) => traceId && one.traceId === traceId);
  const update = (one: Exchange, step: string | null, fields: Partial<Exchange>): Exchange[] => {
    const times: Exchange["times"] =
      step !== null && sinceMs !== null ? [...one.times, [step, Math.round(sinceMs)]] : one.times;
    const next: Exchange = { ...one, ...fields, times };
    return exchanges.includes(one)
      ? exchanges.map((other) => (other === one ? next : other))
      : [...exchanges, next].slice(-MAX_EXCHANGES);
  };
  const current = before ?? makeExchange(traceId || String(exchanges.length));
  switch (message.type) {
    case "transcript":
      return update(current, "understood", { utterance: text("text"), traceId });
    case "reply":
      return update(current, "answered", { reply: text("text"), isSpoken: true, traceId });
    case "heard":
      return update(current, null, { heard: text("text"), traceId });
    case "error":
      return update(current, null, { error: text("message"), traceId });
    case "state": {
      const last = exchanges.at(-1);
      const first = message.state === "speaking" && last?.reply && !last.times.some(([name]) => name === "first sound");
      return first && last ? update(last, "first sound", {}) : exchanges;
    }
    default:
      return exchanges;
  }
}

export function createCall(api: Pick<Api, "sendOffer" | "sendCandidates" | "sendCommand">, room: string) {
  const state = signal<CallState>("off");
  const activity = signal("asleep");
  const problem = signal<Problem | null>(null);
  const exchanges = signal<Exchange[]>([]);
  const listening = signal(false);
  const talking = signal(false);
  const player = new Audio();
  let session = `page-${room}`;
  let connection: VoiceConnection | null = null;
  let microphone: MediaStream | null = null;
  let meter: ReturnType<typeof createLevelMeter> | null = null;
  let isReady = false;
  let shouldReconnect = false;
  let speechEndAt: number | null = null;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;

  const updateTracks = (): void => {
    const isOn = listening.value || talking.value;
    for (const track of microphone?.getAudioTracks() ?? []) track.enabled = isOn;
  };

  const onMessage = (message: Message): void => {
    if (message.type === "ready") {
      isReady = true;
      session = String(message.session ?? session);
      state.value = "on";
      problem.value = null;
      if (talking.value) connection?.send({ type: "talk", on: true });
    }
    if (message.type === "state") {
      activity.value = String(message.state);
      if (activity.value === "thinking" && speechEndAt === null) speechEndAt = performance.now();
    }
    const sinceMs = speechEndAt === null ? null : performance.now() - speechEndAt;
    exchanges.value = applyMessage(exchanges.value, message, sinceMs);
    if (message.type === "state" && message.state !== "thinking") speechEndAt = null;
    if (message.type === "error" && FINAL_CODES.has(String(message.code))) {
      shouldReconnect = false;
      problem.value = { title: String(message.message), text: "" };
    }
  };

  const disconnect = (): void => {
    connection?.close();
    connection = null;
    isReady = false;
    activity.value = "asleep";
  };

  const onLost = (): void => {
    disconnect();
    if (!shouldReconnect) {
      hangUp();
      return;
    }
    state.value = "lost";
    problem.value = { title: "The voice service does not answer. Reconnecting.", text: "Typing may still work." };
    retryTimer = setTimeout(() => void connect(), RETRY_MS);
  };

  const connect = async (): Promise<void> => {
    clearTimeout(retryTimer);
    if (connection || (state.value === "connecting" && microphone)) return;
    shouldReconnect = true;
    state.value = "connecting";
    try {
      if (!microphone) {
        microphone = await openMicrophone();
        meter = createLevelMeter(microphone);
      }
      updateTracks();
      connection = await openConnection(api, microphone, room, {
        onMessage,
        onLost,
        onAudio(stream) {
          player.srcObject = stream;
          void player.play().catch(() => undefined);
        },
      });
    } catch (error) {
      if (error instanceof MicrophoneError) {
        hangUp();
        problem.value = error.problem;
      } else if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
        hangUp();
        problem.value = { title: error.message, text: "" };
      } else onLost();
    }
  };

  const hangUp = (): void => {
    shouldReconnect = false;
    clearTimeout(retryTimer);
    disconnect();
    meter?.close();
    meter = null;
    for (const track of microphone?.getTracks() ?? []) track.stop();
    microphone = null;
    player.srcObject = null;
    state.value = "off";
    listening.value = false;
    talking.value = false;
  };

  const setTalking = (on: boolean): void => {
    if (talking.value === on) return;
    talking.value = on;
    if (on) {
      problem.value = null;
      speechEndAt = null;
      updateTracks();
      if (isReady) connection?.send({ type: "talk", on: true });
      else void connect();
    } else {
      speechEndAt = performance.now();
      connection?.send({ type: "talk", on: false });
      setTimeout(updateTracks, 400); // the last word is still being captured
    }
  };

  const setListening = (on: boolean): void => {
    listening.value = on;
    if (on) void connect();
    updateTracks();
  };

  const sendText = async (utterance: string): Promise<void> => {
    const id = `typed-${Date.now()}`;
    const startedAt = performance.now();
    exchanges.value = [...exchanges.value, { ...makeExchange(id), utterance }].slice(-MAX_EXCHANGES);
    const update = (fields: Partial<Exchange>): void => {
      exchanges.value = exchanges.value.map((one) => (one.id === id ? { ...one, ...fields } : one));
    };
    try {
      const answer = await api.sendCommand(utterance, session);
      update({ reply: answer.reply, traceId: answer.trace_id, times: [["answered", performance.now() - startedAt]] });
    } catch (error) {
      update({ error: error instanceof Error ? error.message : String(error) });
    }
  };

  return {
    room,
    state,
    activity,
    problem,
    exchanges,
    listening,
    talking,
    setTalking,
    setListening,
    sendText,
    hangUp,
    stopSpeaking: () => void connection?.send({ type: "stop" }),
    level: () => (microphone && (listening.value || talking.value) ? (meter?.level() ?? 0) : 0),
  };
}

export type Call = ReturnType<typeof createCall>;
