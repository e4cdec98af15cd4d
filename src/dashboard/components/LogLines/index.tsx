/** Log records of a turn; each expands to all its fields. */
import type { LogLine } from "../../api/types";
import { formatClockTime } from "../../format";
import "./style.css";

export function LogLines({ lines }: { lines: LogLine[] }) {
  return (
    <ul class="log-lines">
      {lines.map((line, index) => (
        <li key={index} class={line.level}>
          <details>
            <summary>
              <span class="tabular muted">{line.timestamp ? formatClockTime(Date.parse(line.timestamp)) : ""}</span>
              <span class="log-component">{line.component}</span>
              <span class="log-event">{line.event}</span>
              {line.level !== "info" && <span class="log-level">{line.level}</span>}
            </summary>
            <pre tabIndex={0}>{JSON.stringify(line.more, null, 2)}</pre>
          </details>
        </li>
      ))}
    </ul>
  );
}
