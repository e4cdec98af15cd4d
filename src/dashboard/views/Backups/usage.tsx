/** Requests to the object store today, beside the free quota. */
import { Card } from "../../components/Card";
import { formatNumber } from "../../format";

const CLASSES: Array<[string, string]> = [
  ["b", "downloads"],
  ["c", "listings"],
];

export function StorageUsage({ calls }: { calls: Record<string, number> }) {
  return (
    <Card title="Storage requests today">
      <dl class="usage">
        {CLASSES.map(([key, name]) => {
          const used = calls[key] ?? 0;
          const free = calls[`free_${key}`] ?? 0;
          return (
            <div key={key}>
              <dt>{name}</dt>
              <dd class="tabular">
                {formatNumber(used)} <span class="muted">of {formatNumber(free)} free</span>
              </dd>
              <dd class="usage-track" aria-hidden="true">
                <span class={used > free ? "over" : ""} style={{ width: `${free ? Math.min(100, (100 * used) / free) : 0}%` }} />
              </dd>
            </div>
          );
        })}
        <div>
          <dt>uploads</dt>
          <dd class="tabular">
            {formatNumber(calls.a ?? 0)} <span class="muted">free of charge</span>
          </dd>
        </div>
      </dl>
    </Card>
  );
}
