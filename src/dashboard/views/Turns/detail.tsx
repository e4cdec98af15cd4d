/** One turn: what was said, why it took so long, its stages and its lines of the log. */
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { WaterfallShape } from "../../api/types";
import { Card } from "../../components/Card";
import { Icon } from "../../components/Icon";
import { LogLines } from "../../components/LogLines";
import { Notice } from "../../components/Notice";
import { Waterfall } from "../../components/Waterfall";
import { exact, took } from "../../format";

interface Props {
  trace: string;
  api: Pick<Api, "waterfall">;
  /** The voice has told what it measured: fetch again, until it is in the record. */
  spoken: boolean;
}

const AGAIN_MS = 1000;
const AGAIN_MOST = 20;

export function TurnDetail({ trace, api, spoken }: Props) {
  const [fall, setFall] = useState<WaterfallShape | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    const running = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = (left: number) =>
      api.waterfall(trace, running.signal).then(
        (found) => {
          setFall(found);
          // It was told to the house before it was written down.
          if (spoken && !found.spoken && left > 0) timer = setTimeout(() => void look(left - 1), AGAIN_MS);
        },
        (error: unknown) => {
          if (!running.signal.aborted) setTrouble(error instanceof Error ? error.message : String(error));
        },
      );
    void look(AGAIN_MOST);
    return () => {
      running.abort();
      clearTimeout(timer);
    };
  }, [trace, spoken]);
  const turn = fall?.turn;
  return (
    <article class="turn-detail stack" aria-label="One turn">
      <a class="button back" href="#/turns">
        <Icon name="back" size={18} /> All turns
      </a>
      {trouble && <Notice kind="bad" title={trouble} />}
      {fall && (
        <>
          <div>
            <h1 class="turn-title">{turn ? turn.utterance : "Nothing came of it"}</h1>
            {turn && <p class="turn-answer">{turn.reply}</p>}
            <Facts fall={fall} />
          </div>
          <Card title="Why was that slow?">
            <ul class="why">
              {fall.why.map((one) => (
                <li key={one}>{one}</li>
              ))}
            </ul>
          </Card>
          <Card title="Where the time went" aside={<span class="figure soft">{took(fall.total_ms)}</span>}>
            <Waterfall stages={fall.stages} totalMs={fall.total_ms} />
          </Card>
          <Card title="Log">
            {fall.lines === null ? (
              <p class="soft">Nobody here keeps a log that this page can read.</p>
            ) : fall.lines.length === 0 ? (
              <p class="soft">No lines.</p>
            ) : (
              <LogLines lines={fall.lines} />
            )}
          </Card>
        </>
      )}
    </article>
  );
}

function Facts({ fall }: { fall: WaterfallShape }) {
  const { turn, spoken } = fall;
  const at = turn?.created_at ?? spoken?.said_at;
  const facts: Array<[string, string | null | undefined]> = [
    ["when", at ? exact(Date.parse(at)) : null],
    ["room", spoken?.room],
    ["who", turn?.speaker],
    ["understood as", turn?.intent.replaceAll("_", " ")],
    ["heard by", spoken?.engine],
    ["meanwhile", spoken?.filler?.replaceAll("_", " ")],
    ["without", [...new Set([...(turn?.degraded ?? []), ...(spoken?.degraded ?? [])])].join(", ")],
    ["cut short at", spoken?.interrupted ? (spoken.heard ?? "nothing") : null],
    ["trace", fall.trace_id],
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
