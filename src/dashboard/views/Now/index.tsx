/** Everything at a glance: what the house can do, what happens, and why something does not work. */
import type { AlertNow, Now as NowShape, RoomNow, TurnNow } from "../../api/types";
import { Abilities } from "../../components/Abilities";
import { Card } from "../../components/Card";
import { Cascade } from "../../components/Cascade";
import { Notice } from "../../components/Notice";
import { type HealthState, StateMark } from "../../components/StateMark";
import { since, took } from "../../format";
import { useHouse } from "../../state";
import { Tried } from "./tried";
import "./style.css";

const SENTENCES: Record<HealthState, string> = {
  healthy: "All is well.",
  degraded: "It works, with less than usual.",
  unhealthy: "Something does not work.",
  unknown: "Nobody knows yet.",
};

export function Now() {
  const state = useHouse();
  const seen = state.now.value;
  const trusted = state.trusted.value !== null;
  const now = state.clock.value;
  if (!seen) {
    return (
      <div class="view stack">
        <h1>{state.link.value === "lost" ? "The house does not answer." : "Looking around."}</h1>
      </div>
    );
  }
  const overall = trusted ? seen.state : "unknown";
  return (
    <div class="view stack">
      <div class="now-head">
        <StateMark state={overall} />
        <h1>{trusted ? SENTENCES[seen.state] : "Not known: the connection is lost."}</h1>
      </div>
      <Abilities abilities={seen.abilities} trusted={trusted} now={now} />
      <div class="now-columns">
        <Happening rooms={trusted ? seen.rooms : null} last={state.recent.value[0]} />
        <Tried probe={seen.probe} now={now} trusted={trusted} titles={state.system.value?.stage_titles ?? {}} />
        <Copy seen={seen} trusted={trusted} now={now} />
        <Alerts alerts={seen.alerts} trusted={trusted} now={now} />
      </div>
      <Card title="What it is made of">
        <Cascade services={seen.services} trusted={trusted} now={now} />
      </Card>
    </div>
  );
}

const DOING: Record<string, string> = {
  asleep: "waits for its name",
  listening: "listens",
  hearing: "hears somebody",
  thinking: "thinks",
  speaking: "speaks",
  follow_up: "listens for more",
};

function Happening({ rooms, last }: { rooms: RoomNow[] | null; last: TurnNow | undefined }) {
  return (
    <Card title="Right now">
      <ul class="lines">
        {(rooms ?? []).map((room) => (
          <li key={room.room} class="row spread">
            <span>{room.room}</span>
            <span class={room.state === "asleep" ? "soft" : "busy"}>{DOING[room.state] ?? room.state}</span>
          </li>
        ))}
      </ul>
      {rooms?.length === 0 && <p class="soft">No room is connected.</p>}
      {last && (
        <p class="last-turn">
          <span>“{last.utterance}”</span>
          <a href={`#/turns/${last.trace_id}`}>{last.reply}</a>
          <span class="small soft figure">decided in {took(last.total_ms)}</span>
        </p>
      )}
      {!last && <p class="soft">Nobody has said anything yet.</p>}
    </Card>
  );
}

function Copy({ seen, trusted, now }: { seen: NowShape; trusted: boolean; now: number }) {
  const replica = seen.services.flatMap((one) => one.needs).find((need) => need.name === "replica");
  return (
    <Card title="Backup" aside={replica && <StateMark state={trusted ? replica.state : "unknown"} small />}>
      {replica ? (
        <>
          <p>
            {!trusted
              ? "Not known while the connection is lost."
              : replica.state === "healthy"
                ? "Everything that was written is also in the copy."
                : (replica.message ?? "The copy is not up to date.")}
          </p>
          <p class="small soft">
            {trusted && `${since(replica.since_s * 1000, now)}, `}
            <a href="#/backups">more</a>
          </p>
        </>
      ) : (
        <p class="soft">No copy is kept by this house.</p>
      )}
    </Card>
  );
}

function Alerts({ alerts, trusted, now }: { alerts: AlertNow[] | null; trusted: boolean; now: number }) {
  return (
    <Card title="Alerts in force">
      {alerts === null || !trusted ? (
        <p class="soft">{trusted ? "Nobody watches for alerts here." : "Not known while the connection is lost."}</p>
      ) : alerts.length === 0 ? (
        <p>None.</p>
      ) : (
        <ul class="stack">
          {alerts.map((one) => (
            <li key={one.name}>
              <Notice kind={one.severity === "critical" ? "bad" : "warn"} title={one.summary || one.name}>
                {one.name}, {since(one.since_s * 1000, now)}
              </Notice>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
