/** The card's memory to scale: what holds how much, what is set aside, what is free. */
import { memory } from "../../format";
import "./style.css";

export interface Piece {
  key: string;
  label: string;
  mib: number;
  kind: "model" | "base" | "other" | "headroom" | "free";
}

export function MemoryBar({ pieces, totalMib, label }: { pieces: Piece[]; totalMib: number; label: string }) {
  const shown = pieces.filter((one) => one.mib > 0);
  const sum = Math.max(totalMib, shown.reduce((all, one) => all + one.mib, 0));
  return (
    <figure class="memory-bar">
      <div class="memory-lane" role="img" aria-label={`${label}: ${shown.map((one) => `${one.label} ${memory(one.mib)}`).join(", ")}`}>
        {shown.map((one, index) => (
          <span
            key={one.key}
            class={`piece ${one.kind} tone${index % 5}`}
            style={{ width: `${(100 * one.mib) / sum}%` }}
            title={`${one.label}: ${memory(one.mib)}`}
          />
        ))}
      </div>
      <figcaption>
        <ul class="legend small">
          {shown.map((one, index) => (
            <li key={one.key}>
              <span class={`swatch ${one.kind} tone${index % 5}`} aria-hidden="true" />
              {one.label} <span class="soft figure">{memory(one.mib)}</span>
            </li>
          ))}
        </ul>
      </figcaption>
    </figure>
  );
}
