/** One turn in a list: what was said, what was answered, how long it took. */
import type { TurnShape } from "../../api/types";
import { moment, took } from "../../format";
import { Icon } from "../Icon";
import "./style.css";

interface Props {
  turn: TurnShape;
  here: boolean;
}

/** How long until the first sound where it was spoken, otherwise the command's whole time. Pure. */
export function waitOf(turn: TurnShape): number {
  return turn.spoken?.stages.first_audio?.took_ms ?? turn.latency_ms.total ?? 0;
}

export function TurnRow({ turn, here }: Props) {
  const missing = [...new Set([...turn.degraded, ...(turn.spoken?.degraded ?? [])])];
  const place = turn.spoken?.room;
  return (
    <a class="turn-row" href={`#/turns/${turn.trace_id}`} aria-current={here ? "true" : undefined}>
      <span class="turn-text">
        <span class="turn-said">{turn.utterance}</span>
        <span class="turn-reply small soft">{turn.reply}</span>
      </span>
      <span class="turn-side small soft figure">
        <span>{moment(Date.parse(turn.created_at))}</span>
        <span class="turn-took">
          {(missing.length > 0 || turn.spoken?.code) && (
            <span class="turn-flag" title={missing.join(", ") || (turn.spoken?.code ?? "")}>
              <Icon name="degraded" size={15} />
              <span class="unseen">with less than usual</span>
            </span>
          )}
          {place && <span class="turn-place">{place}</span>}
          {took(waitOf(turn))}
        </span>
      </span>
    </a>
  );
}
