/** Bar of the GPU memory to scale: models, reserved and free memory. */
import { formatMemory } from "../../format";
import "./style.css";

export interface MemorySegment {
  key: string;
  label: string;
  mib: number;
  kind: "model" | "base" | "other" | "headroom" | "free";
}

export function MemoryBar({ segments, totalMib, label }: { segments: MemorySegment[]; totalMib: number; label: string }) {
  const visible = segments.filter((one) => one.mib > 0);
  const sum = Math.max(totalMib, visible.reduce((all, one) => all + one.mib, 0));
  return (
    <figure class="memory-bar">
      <div class="memory-track" role="img" aria-label={`${label}: ${visible.map((one) => `${one.label} ${formatMemory(one.mib)}`).join(", ")}`}>
        {visible.map((one, index) => (
          <span
            key={one.key}
            class={`segment ${one.kind} tone${index % 5}`}
            style={{ width: `${(100 * one.mib) / sum}%` }}
            title={`${one.label}: ${formatMemory(one.mib)}`}
          />
        ))}
      </div>
      <figcaption>
        <ul class="legend small">
          {visible.map((one, index) => (
            <li key={one.key}>
              <span class={`swatch ${one.kind} tone${index % 5}`} aria-hidden="true" />
              {one.label} <span class="muted tabular">{formatMemory(one.mib)}</span>
            </li>
          ))}
        </ul>
      </figcaption>
    </figure>
  );
}
