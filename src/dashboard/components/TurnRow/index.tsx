/** Row of a turn: utterance, reply and duration. */
import type { TurnResponse } from "../../api/types";
import { formatDuration, formatTime } from "../../format";
import { Icon } from "../Icon";
import "./style.css";

interface Props {
  turn: TurnResponse;
  isCurrent: boolean;
}

/** Time to the first sound of a spoken turn, otherwise the duration of the command. Pure. */
export function getWaitMs(turn: TurnResponse): number {
  return turn.spoken?.stages.first_audio?.took_ms ?? turn.latency_ms.total ?? 0;
}

export function TurnRow({ turn, isCurrent }: Props) {
  const missing = [...new Set([...turn.degraded, ...(turn.spoken?.degraded ?? [])])];
  const room = turn.spoken?.room;
  return (
    <a class="turn-row" href={`#/turns/${turn.trace_id}`} aria-current={isCurrent ? "true" : undefined}>
      <span class="turn-text">
        <span class="turn-utterance">{turn.utterance}</span>
        <span class="turn-reply small muted">{turn.reply}</span>
      </span>
      <span class="turn-side small muted tabular">
        <span>{formatTime(Date.parse(turn.created_at))}</span>
        <span class="turn-duration">
          {(missing.length > 0 || turn.spoken?.code) && (
            <span class="turn-flag" title={missing.join(", ") || (turn.spoken?.code ?? "")}>
              <Icon name="degraded" size={15} />
              <span class="visually-hidden">incomplete</span>
            </span>
          )}
          {room && <span class="turn-room">{room}</span>}
          {formatDuration(getWaitMs(turn))}
        </span>
      </span>
    </a>
  );
}
