/** Waterfall chart of the stages of a turn; stages over their budget are marked. */
import type { WaterfallStage } from "../../api/types";
import { formatDuration } from "../../format";
import "./style.css";

interface Props {
  stages: WaterfallStage[];
  totalMs: number;
}

const TICKS = 4;

/** Returns about `TICKS` round axis values. Pure. */
export function computeTicks(totalMs: number): number[] {
  if (totalMs <= 0) return [0];
  const rough = totalMs / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.floor(totalMs / step) + 1 }, (_, index) => index * step);
}

export function Waterfall({ stages, totalMs }: Props) {
  const toPercent = (ms: number): string => `${totalMs > 0 ? (100 * ms) / totalMs : 0}%`;
  return (
    <div class="waterfall">
      <div class="axis small muted tabular" aria-hidden="true">
        {computeTicks(totalMs).map((ms) => (
          <span key={ms} style={{ left: toPercent(ms) }}>
            {formatDuration(ms)}
          </span>
        ))}
      </div>
      <ol>
        {stages.map((bar, index) => (
          <li key={`${bar.service}${bar.stage}${index}`}>
            <span class="stage">
              <span>{bar.stage.replaceAll("_", " ")}</span>
              <span class="small muted"> {bar.service}</span>
            </span>
            <span class="track">
              <span
                class={`bar ${bar.service}${bar.over_budget ? " over" : ""}`}
                style={{ left: toPercent(bar.at_ms), width: toPercent(bar.took_ms) }}
              />
            </span>
            <span class="tabular small stage-duration">
              {formatDuration(bar.took_ms)}
              {bar.over_budget && bar.budget_ms !== null && (
                <span class="over-text"> over {formatDuration(bar.budget_ms)}</span>
              )}
            </span>
          </li>
        ))}
      </ol>
    </div>
  );
}
