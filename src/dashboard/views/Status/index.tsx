/** Status view: capabilities, rooms, last probe, backup, alerts and services. */
import type { AlertStatus, RoomStatus, StatusResponse, TurnEvent } from "../../api/types";
import { Capabilities } from "../../components/Capabilities";
import { Card } from "../../components/Card";
import { Notice } from "../../components/Notice";
import { ServiceTree } from "../../components/ServiceTree";
import { type HealthState, StateBadge } from "../../components/StateBadge";
import { formatDuration, formatSince } from "../../format";
import { useAppState } from "../../state";
import { LanguageModelCard } from "./languageModel";
import { ProbeCard } from "./probe";
import "./style.css";

const HEADINGS: Record<HealthState, string> = {
  healthy: "Everything works.",
  degraded: "Works, with limits.",
  unhealthy: "Something does not work.",
  unknown: "Some services have not been checked yet.",
};

export function Status() {
  const state = useAppState();
  const status = state.status.value;
  const trusted = state.trusted.value !== null;
  const now = state.nowMs.value;
  if (!status) {
    return (
      <div class="view stack">
        <h1>{state.connection.value === "lost" ? "The assistant does not answer." : "Loading the status."}</h1>
      </div>
    );
  }
  return (
    <div class="view stack">
      <div class="status-head">
        <StateBadge state={trusted ? status.state : "unknown"} />
        <h1>{trusted ? HEADINGS[status.state] : "Unknown: the connection is lost."}</h1>
      </div>
      <Capabilities capabilities={status.abilities} trusted={trusted} now={now} />
      <div class="status-columns">
        <RoomsCard rooms={trusted ? status.rooms : null} lastTurn={state.recentTurns.value[0]} />
        <ProbeCard probe={status.probe} now={now} trusted={trusted} titles={state.system.value?.stage_titles ?? {}} />
        <BackupCard status={status} trusted={trusted} now={now} />
        <AlertsCard alerts={status.alerts} trusted={trusted} now={now} />
        <LanguageModelCard model={state.system.value?.language_model} />
      </div>
      <Card title="Services">
        <ServiceTree services={status.services} trusted={trusted} now={now} />
      </Card>
    </div>
  );
}

const ROOM_STATES: Record<string, string> = {
  asleep: "waiting for the wake word",
  listening: "listening",
  hearing: "hearing speech",
  thinking: "processing",
  speaking: "speaking",
  follow_up: "listening for a follow-up",
};

function RoomsCard({ rooms, lastTurn }: { rooms: RoomStatus[] | null; lastTurn: TurnEvent | undefined }) {
  return (
    <Card title="Activity">
      <ul class="room-list">
        {(rooms ?? []).map((room) => (
          <li key={room.room} class="row spread">
            <span>{room.room}</span>
            <span class={room.state === "asleep" ? "muted" : "busy"}>{ROOM_STATES[room.state] ?? room.state}</span>
          </li>
        ))}
      </ul>
      {rooms?.length === 0 && <p class="muted">No room is connected.</p>}
      {lastTurn && (
        <p class="last-turn">
          <span>“{lastTurn.utterance}”</span>
          <a href={`#/turns/${lastTurn.trace_id}`}>{lastTurn.reply}</a>
          <span class="small muted tabular">processed in {formatDuration(lastTurn.total_ms)}</span>
        </p>
      )}
      {!lastTurn && <p class="muted">There are no commands yet.</p>}
    </Card>
  );
}

function BackupCard({ status, trusted, now }: { status: StatusResponse; trusted: boolean; now: number }) {
  const replica = status.services.flatMap((one) => one.needs).find((one) => one.name === "replica");
  return (
    <Card title="Backup" aside={replica && <StateBadge state={trusted ? replica.state : "unknown"} small />}>
      {replica ? (
        <>
          <p>
            {!trusted
              ? "Unknown while the connection is lost."
              : replica.state === "healthy"
                ? "The backup contains everything that was saved."
                : (replica.message ?? "The backup is not up to date.")}
          </p>
          <p class="small muted">
            {trusted && `${formatSince(replica.since_s * 1000, now)}, `}
            <a href="#/backups">details</a>
          </p>
        </>
      ) : (
        <p class="muted">No backup is configured.</p>
      )}
    </Card>
  );
}

function AlertsCard({ alerts, trusted, now }: { alerts: AlertStatus[] | null; trusted: boolean; now: number }) {
  return (
    <Card title="Active alerts">
      {alerts === null || !trusted ? (
        <p class="muted">{trusted ? "Alerts are not monitored here." : "Unknown while the connection is lost."}</p>
      ) : alerts.length === 0 ? (
        <p>None.</p>
      ) : (
        <ul class="stack">
          {alerts.map((one) => (
            <li key={one.name}>
              <Notice kind={one.severity === "critical" ? "bad" : "warn"} title={one.summary || one.name}>
                {one.name}, {formatSince(one.since_s * 1000, now)}
              </Notice>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
