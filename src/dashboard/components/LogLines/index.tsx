/** A turn's lines of the log, each with its other fields when it is opened. */
import type { LogLine } from "../../api/types";
import { clock } from "../../format";
import "./style.css";

export function LogLines({ lines }: { lines: LogLine[] }) {
  return (
    <ul class="log-lines">
      {lines.map((line, index) => (
        <li key={index} class={line.level}>
          <details>
            <summary>
              <span class="figure soft">{line.timestamp ? clock(Date.parse(line.timestamp)) : ""}</span>
              <span class="log-who">{line.component}</span>
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
