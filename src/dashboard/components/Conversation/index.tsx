/** Conversation of this page, newest exchange last, with the times of the stages. */
import { formatDuration } from "../../format";
import { Icon } from "../Icon";
import "./style.css";

export interface Exchange {
  id: string;
  /** Recognized or typed text; empty until it is recognized. */
  utterance: string;
  reply: string;
  isSpoken: boolean;
  error: string;
  /** Part of the reply that was played before an interruption. */
  heard: string | null;
  /** Name of each step and the milliseconds from the end of speech to it. */
  times: Array<[string, number]>;
  traceId: string;
}

export function Conversation({ exchanges }: { exchanges: Exchange[] }) {
  if (exchanges.length === 0) return null;
  return (
    <ol class="conversation" role="log" aria-label="Conversation" tabIndex={0}>
      {exchanges.map((one) => (
        <li key={one.id}>
          <p class="bubble user">{one.utterance || <span class="muted">…</span>}</p>
          {one.error && <p class="bubble error">{one.error}</p>}
          {one.reply && (
            <p class="bubble assistant">
              {one.isSpoken && <Icon name="speak" size={18} />}
              <span>{one.reply}</span>
            </p>
          )}
          {one.heard !== null && <p class="small muted">You heard: {one.heard || "nothing"}</p>}
          {(one.times.length > 0 || one.traceId) && (
            <p class="turn-times small muted tabular">
              {one.times.map(([name, ms]) => (
                <span key={name}>
                  {name} {formatDuration(ms)}
                </span>
              ))}
              {one.traceId && one.reply && <a href={`#/turns/${one.traceId}`}>timings</a>}
            </p>
          )}
        </li>
      ))}
    </ol>
  );
}
