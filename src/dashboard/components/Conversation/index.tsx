/** What was said and answered on this page, newest last; times of the stages as they happen. */
import { took } from "../../format";
import { Icon } from "../Icon";
import "./style.css";

export interface Said {
  id: string;
  /** What was understood, or typed; empty while it is being heard. */
  utterance: string;
  reply: string;
  aloud: boolean;
  trouble: string;
  heard: string | null;
  /** Milliseconds since the person was done, by the name of what happened then. */
  times: Array<[string, number]>;
  traceId: string;
}

export function Conversation({ said }: { said: Said[] }) {
  if (said.length === 0) return null;
  return (
    <ol class="conversation" role="log" aria-label="Conversation" tabIndex={0}>
      {said.map((one) => (
        <li key={one.id}>
          <p class="bubble you">{one.utterance || <span class="soft">…</span>}</p>
          {one.trouble && <p class="bubble trouble">{one.trouble}</p>}
          {one.reply && (
            <p class="bubble house">
              {one.aloud && <Icon name="speak" size={18} />}
              <span>{one.reply}</span>
            </p>
          )}
          {one.heard !== null && <p class="small soft">You heard: {one.heard || "nothing of it"}</p>}
          {(one.times.length > 0 || one.traceId) && (
            <p class="times small soft figure">
              {one.times.map(([name, ms]) => (
                <span key={name}>
                  {name} {took(ms)}
                </span>
              ))}
              {one.traceId && one.reply && <a href={`#/turns/${one.traceId}`}>where the time went</a>}
            </p>
          )}
        </li>
      ))}
    </ol>
  );
}
