/** What the store was asked today, beside what is free. */
import { Card } from "../../components/Card";
import { number } from "../../format";

const CLASSES: Array<[string, string]> = [
  ["b", "downloads"],
  ["c", "listings"],
];

export function Calls({ calls }: { calls: Record<string, number> }) {
  return (
    <Card title="Calls today">
      <dl class="calls">
        {CLASSES.map(([key, name]) => {
          const used = calls[key] ?? 0;
          const free = calls[`free_${key}`] ?? 0;
          return (
            <div key={key}>
              <dt>{name}</dt>
              <dd class="figure">
                {number(used)} <span class="soft">of {number(free)} free</span>
              </dd>
              <dd class="calls-lane" aria-hidden="true">
                <span class={used > free ? "over" : ""} style={{ width: `${free ? Math.min(100, (100 * used) / free) : 0}%` }} />
              </dd>
            </div>
          );
        })}
        <div>
          <dt>uploads</dt>
          <dd class="figure">
            {number(calls.a ?? 0)} <span class="soft">always free</span>
          </dd>
        </div>
      </dl>
    </Card>
  );
}
