/** How long each rehearsal took and whether it succeeded, oldest first. */
import type { DrillShape } from "../../api/types";
import { moment, took } from "../../format";
import "./style.css";

export function DrillChart({ drills }: { drills: DrillShape[] }) {
  if (drills.length < 2) return null;
  const most = Math.max(...drills.map((one) => one.took_ms), 1);
  const good = drills.filter((one) => one.success).length;
  return (
    <figure class="drill-chart">
      <ol role="img" aria-label={`${good} of the last ${drills.length} rehearsals succeeded; the longest took ${took(most)}`}>
        {drills.map((one) => (
          <li
            key={one.started_at}
            class={one.success ? "" : "failed"}
            style={{ height: `${Math.max(6, (100 * one.took_ms) / most)}%` }}
            title={`${moment(Date.parse(one.started_at))}: ${took(one.took_ms)}${one.success ? "" : `, ${one.reason ?? "failed"}`}`}
          />
        ))}
      </ol>
      <figcaption class="small soft row spread">
        <span>{moment(Date.parse(drills[0]?.started_at ?? ""))}</span>
        <span>longest {took(most)}</span>
        <span>{moment(Date.parse(drills.at(-1)?.started_at ?? ""))}</span>
      </figcaption>
    </figure>
  );
}
