/** A turn's stages as bars over one time axis; what was over its budget says so. */
import type { BarShape } from "../../api/types";
import { took } from "../../format";
import "./style.css";

interface Props {
  stages: BarShape[];
  totalMs: number;
}

const TICKS = 4;

/** Round steps for the axis, at most `TICKS` of them. Pure. */
export function ticksOf(totalMs: number): number[] {
  if (totalMs <= 0) return [0];
  const rough = totalMs / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.floor(totalMs / step) + 1 }, (_, index) => index * step);
}

export function Waterfall({ stages, totalMs }: Props) {
  const share = (ms: number): string => `${totalMs > 0 ? (100 * ms) / totalMs : 0}%`;
  return (
    <div class="waterfall">
      <div class="axis small soft figure" aria-hidden="true">
        {ticksOf(totalMs).map((ms) => (
          <span key={ms} style={{ left: share(ms) }}>
            {took(ms)}
          </span>
        ))}
      </div>
      <ol>
        {stages.map((bar, index) => (
          <li key={`${bar.service}${bar.stage}${index}`}>
            <span class="stage">
              <span>{bar.stage.replaceAll("_", " ")}</span>
              <span class="small soft"> {bar.service}</span>
            </span>
            <span class="lane">
              <span
                class={`bar ${bar.service}${bar.over_budget ? " over" : ""}`}
                style={{ left: share(bar.at_ms), width: share(bar.took_ms) }}
              />
            </span>
            <span class="figure small stage-took">
              {took(bar.took_ms)}
              {bar.over_budget && bar.budget_ms !== null && (
                <span class="over-text"> over {took(bar.budget_ms)}</span>
              )}
            </span>
          </li>
        ))}
      </ol>
    </div>
  );
}
