// Written by scripts/api_types.py out of the api's OpenAPI document. Do not edit:
// change the shapes in src/barnabee/api and run the script.

/** Whether the house can hear, think, speak or remember, in a sentence for the family. */
export interface Ability {
  key: string;
  title: string;
  state: "healthy" | "degraded" | "unhealthy" | "unknown";
  says: string;
  since_s: number;
}

/** An alert in force. */
export interface AlertNow {
  name: string;
  severity: string;
  summary: string;
  since_s: number;
}

/** What came of a command; `code` says what failed, in the words of `barnabee.core.errors`. */
export interface Answer {
  reply: string;
  intent: string;
  actions: Array<Record<string, unknown>>;
  session_id: string;
  trace_id: string;
  degraded: Array<string>;
  code: string | null;
  latency_ms: Record<string, number>;
}

/** How safe what the house remembers is; `warnings` are sentences. */
export interface BackupsNow {
  replica: ReplicaNow;
  snapshot: SnapshotNow;
  drill: DrillsNow;
  calls_today: Record<string, number>;
  recovery_key: boolean;
  offsite: string | null;
  warnings: Array<string>;
}

/** A stage in a waterfall. */
export interface BarShape {
  stage: string;
  service: string;
  at_ms: number;
  took_ms: number;
  budget_ms: number | null;
  over_budget: boolean;
}

/** A browser that is logged in; times in seconds since the epoch. */
export interface BrowserShape {
  id: string;
  name: string;
  since_s: number;
  seen_s: number;
  this: boolean;
}

/** The card (or main memory, where there is none), in MiB. */
export interface Card {
  name: string;
  total_mib: number;
  headroom_mib: number;
  charged_mib: number;
  held_mib: number;
  base_mib: number;
  other_mib: number;
  free_mib: number;
  measured_mib: number | null;
}

/** What the ledger decided and why. */
export interface Decision {
  at: number;
  decision: string;
  model: string;
  reason: string;
  code: string | null;
  charged_mib: number;
  session: string | null;
}

/** One drill: the newest copies, restored to scratch and compared. */
export interface DrillShape {
  started_at: string;
  took_ms: number;
  success: boolean;
  step: string | null;
  code: string | null;
  reason: string | null;
  restore_ms: number;
  bytes: number;
  rows: number;
  snapshot: string | null;
  offsite: boolean;
}

/** What drills there were and when the next one is; the newest last. */
export interface DrillsNow {
  last: DrillShape | null;
  last_verified_at: string | null;
  next_at: string;
  requested: boolean;
  history: Array<DrillShape>;
}

/** Something that went wrong on the way. */
export interface FaultShape {
  service: string;
  code: string;
  message: string;
}

/** It is kept; `degraded` names what was missing on the way. */
export interface Kept {
  trace_id: string;
  degraded: Array<string>;
}

/** Somebody who uses a model. */
export interface Lease {
  session: string | null;
  left_ms: number;
}

/** The memory of the card and who has it; the newest decision last. */
export interface Ledger {
  card: Card;
  models: Array<ModelShape>;
  turns: Record<string, string | null>;
  waiting: Array<Waiting>;
  decisions: Array<Decision>;
}

/** A way in for one more browser, good once. */
export interface Link {
  path: string;
  good_for_s: number;
}

/** One line of the log; `more` are its other fields. */
export interface LogLine {
  timestamp: string;
  component: string;
  level: string;
  event: string;
  more: Record<string, unknown>;
}

/** A model in the ledger. */
export interface ModelShape {
  name: string;
  id: string;
  task: string;
  state: string;
  priority: number;
  preload: boolean;
  declared_mib: number;
  measured_mib: number;
  charged_mib: number;
  held_mib: number;
  left_mib: number;
  reload_ms: number;
  unused_ms: number | null;
  leases: Array<Lease>;
  code: string | null;
}

/** What became of a model that was loaded or unloaded by hand. */
export interface Moved {
  name: string;
  state: string;
}

/** One thing that a service depends on; `hard`: it does nothing without. */
export interface Need {
  name: string;
  state: "healthy" | "degraded" | "unhealthy" | "unknown";
  hard: boolean;
  code: string | null;
  message: string | null;
  since_s: number;
}

/** How everything is; null is what nobody here can tell. */
export interface Now {
  state: "healthy" | "degraded" | "unhealthy" | "unknown";
  abilities: Array<Ability>;
  services: Array<ServiceNow>;
  rooms: Array<RoomNow> | null;
  probe: ProbeNow | null;
  alerts: Array<AlertNow> | null;
  beat_s: number;
}

/** The last spoken question that the house asked itself. */
export interface ProbeNow {
  at_s: number;
  success: boolean;
  stages_ms: Record<string, number>;
  over_budget: Array<string>;
}

/** The stream of the database to its copy. */
export interface ReplicaNow {
  url: string;
  lag_transactions: number | null;
  error: string | null;
}

/** A drill was asked for; `GET /v1/backups` has its result under `drill.last` in time. */
export interface Requested {
  requested: boolean;
}

/** A room that is connected, and what its conversation is doing. */
export interface RoomNow {
  room: string;
  state: string;
  since_s: number;
}

/** A service; `good`: nothing is wrong with it but what nobody configured. */
export interface ServiceNow {
  name: string;
  summary: string;
  state: "healthy" | "degraded" | "unhealthy" | "unknown";
  good: boolean;
  code: string | null;
  message: string | null;
  since_s: number;
  needs: Array<Need>;
}

/** The newest daily snapshot, and how many are kept. */
export interface SnapshotNow {
  newest: string | null;
  at: string | null;
  bytes: number | null;
  encrypted: boolean | null;
  count: number;
  next_at: string;
}

/** What the voice measured of a turn has come. */
export interface SpokenNow {
  trace_id: string;
  room: string;
}

/** How a turn was heard and spoken. */
export interface SpokenShape {
  trace_id: string;
  room: string;
  said_at: string;
  stages: Record<string, SpokenTimes>;
  engine: string | null;
  filler: string | null;
  interrupted: boolean;
  heard: string | null;
  degraded: Array<string>;
  code: string | null;
  created_at: string;
}

/** A stage by the voice's clock, from the moment the person stopped speaking. */
export interface SpokenTimes {
  at_ms: number;
  took_ms: number;
}

/** The public part of system.toml. */
export interface SystemShape {
  version: string;
  services: Record<string, Record<string, unknown>>;
  companions: Record<string, Record<string, unknown>>;
  models: Record<string, Record<string, unknown>>;
  card: Record<string, unknown>;
  voice: Record<string, unknown>;
  stage_budgets_ms: Record<string, number>;
  stage_titles: Record<string, string>;
  acceptance: Record<string, number>;
  filler: Record<string, unknown>;
  wake: WakeShape;
  talk: Record<string, unknown>;
  limits: Record<string, number>;
  retention: Record<string, number>;
  hosts: Record<string, Record<string, unknown>>;
}

/** What the voice answers. */
export interface TalkAnswer {
  sdp: string;
  type: string;
  pc_id: string;
  room: string;
}

/** Addresses that were found after the offer, in the browser's own words. */
export interface TalkCandidates {
  pc_id: string;
  candidates: Array<Record<string, unknown>>;
}

/** What a browser offers (SDP), and how its room is called. */
export interface TalkOffer {
  sdp: string;
  type?: string;
  room?: string | null;
}

/** What opens the house. */
export interface Token {
  token: string;
}

/** A turn that was just answered. */
export interface TurnNow {
  trace_id: string;
  session_id: string;
  utterance: string;
  reply: string;
  intent: string;
  degraded: Array<string>;
  code: string | null;
  total_ms: number;
}

/** Turns, newest first; `next` is the `before` of the page that follows. */
export interface TurnPage {
  turns: Array<TurnShape>;
  next: string | null;
}

/** One utterance and what came of it. */
export interface TurnShape {
  trace_id: string;
  session_id: string;
  speaker: string | null;
  utterance: string;
  reply: string;
  intent: string;
  actions: Array<Record<string, unknown>>;
  degraded: Array<string>;
  latency_ms: Record<string, number>;
  created_at: string;
  spoken: SpokenShape | null;
}

/** Somebody who waits for a model. */
export interface Waiting {
  model: string;
  session: string | null;
  waited_ms: number;
}

/** What wakes it. */
export interface WakeShape {
  words: Array<string>;
}

/** Where the time of a turn went; `why` in sentences, the worst first. */
export interface WaterfallShape {
  trace_id: string;
  total_ms: number;
  stages: Array<BarShape>;
  errors: Array<FaultShape>;
  why: Array<string>;
  lines: Array<LogLine> | null;
  turn: TurnShape | null;
  spoken: SpokenShape | null;
}
