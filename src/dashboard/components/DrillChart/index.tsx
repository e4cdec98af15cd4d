/** Bar chart of restore drills: duration and success, oldest first. */
import type { DrillResponse } from "../../api/types";
import { formatDuration, formatTime } from "../../format";
import "./style.css";

export function DrillChart({ drills }: { drills: DrillResponse[] }) {
  if (drills.length < 2) return null;
  const longestMs = Math.max(...drills.map((one) => one.took_ms), 1);
  const succeeded = drills.filter((one) => one.success).length;
  return (
    <figure class="drill-chart">
      <ol role="img" aria-label={`${succeeded} of the last ${drills.length} restore drills succeeded; the longest took ${formatDuration(longestMs)}`}>
        {drills.map((one) => (
          <li
            key={one.started_at}
            class={one.success ? "" : "failed"}
            style={{ height: `${Math.max(6, (100 * one.took_ms) / longestMs)}%` }}
            title={`${formatTime(Date.parse(one.started_at))}: ${formatDuration(one.took_ms)}${one.success ? "" : `, ${one.reason ?? "failed"}`}`}
          />
        ))}
      </ol>
      <figcaption class="small muted row spread">
        <span>{formatTime(Date.parse(drills[0]?.started_at ?? ""))}</span>
        <span>longest {formatDuration(longestMs)}</span>
        <span>{formatTime(Date.parse(drills.at(-1)?.started_at ?? ""))}</span>
      </figcaption>
    </figure>
  );
}
