/** Details of one turn: utterance, reply, explanation of the latency, waterfall and log. */
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { WaterfallResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { Icon } from "../../components/Icon";
import { LogLines } from "../../components/LogLines";
import { Notice } from "../../components/Notice";
import { Waterfall } from "../../components/Waterfall";
import { formatDuration, formatExactTime } from "../../format";

interface Props {
  trace: string;
  api: Pick<Api, "getWaterfall">;
  /** The timings of this turn have been reported: fetch until they are in the record. */
  hasTimings: boolean;
}

const RETRY_MS = 1000;
const MAX_RETRIES = 20;

export function TurnDetail({ trace, api, hasTimings }: Props) {
  const [waterfall, setWaterfall] = useState<WaterfallResponse | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const running = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = (left: number) =>
      api.getWaterfall(trace, running.signal).then(
        (response) => {
          setWaterfall(response);
          // The event precedes the write to the database.
          if (hasTimings && !response.spoken && left > 0) timer = setTimeout(() => void load(left - 1), RETRY_MS);
        },
        (reason: unknown) => {
          if (!running.signal.aborted) setError(reason instanceof Error ? reason.message : String(reason));
        },
      );
    void load(MAX_RETRIES);
    return () => {
      running.abort();
      clearTimeout(timer);
    };
  }, [trace, hasTimings]);
  const turn = waterfall?.turn;
  return (
    <article class="turn-detail stack" aria-label="One turn">
      <a class="button back" href="#/turns">
        <Icon name="back" size={18} /> All turns
      </a>
      {error && <Notice kind="bad" title={error} />}
      {waterfall && (
        <>
          <div>
            <h1 class="turn-title">{turn ? turn.utterance : "No command was recognized"}</h1>
            {turn && <p class="turn-answer">{turn.reply}</p>}
            <TurnFacts waterfall={waterfall} />
          </div>
          <Card title="Latency">
            <ul class="why">
              {waterfall.why.map((one) => (
                <li key={one}>{one}</li>
              ))}
            </ul>
          </Card>
          <Card title="Timings" aside={<span class="tabular muted">{formatDuration(waterfall.total_ms)}</span>}>
            <Waterfall stages={waterfall.stages} totalMs={waterfall.total_ms} />
          </Card>
          <Card title="Log">
            {waterfall.lines === null ? (
              <p class="muted">No log is available.</p>
            ) : waterfall.lines.length === 0 ? (
              <p class="muted">The log has no records of this turn.</p>
            ) : (
              <LogLines lines={waterfall.lines} />
            )}
          </Card>
        </>
      )}
    </article>
  );
}

function TurnFacts({ waterfall }: { waterfall: WaterfallResponse }) {
  const { turn, spoken } = waterfall;
  const at = turn?.created_at ?? spoken?.said_at;
  const facts: Array<[string, string | null | undefined]> = [
    ["when", at ? formatExactTime(Date.parse(at)) : null],
    ["room", spoken?.room],
    ["speaker", turn?.speaker],
    ["intent", turn?.intent.replaceAll("_", " ")],
    ["speech recognition", spoken?.engine],
    ["filler", spoken?.filler?.replaceAll("_", " ")],
    ["not available", [...new Set([...(turn?.degraded ?? []), ...(spoken?.degraded ?? [])])].join(", ")],
    ["interrupted after", spoken?.interrupted ? (spoken.heard ?? "nothing") : null],
    ["trace", waterfall.trace_id],
  ];
  return (
    <dl class="facts small">
      {facts
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
