/** Result of the last voice probe: a recorded question that is sent through all stages. */
import type { ProbeStatus } from "../../api/types";
import { Card } from "../../components/Card";
import { StateBadge } from "../../components/StateBadge";
import { formatAge, formatDuration, formatExactTime } from "../../format";

interface ProbeCardProps {
  probe: ProbeStatus | null;
  now: number;
  trusted: boolean;
  titles: Record<string, string>;
}

export function ProbeCard({ probe, now, trusted, titles }: ProbeCardProps) {
  const slow = (probe?.over_budget ?? []).map((name) => titles[name] ?? name.replaceAll("_", " "));
  return (
    <Card title="Self-test" aside={probe && trusted && <StateBadge state={probe.success ? "healthy" : "unhealthy"} small />}>
      {probe ? (
        <>
          <p>
            {probe.success
              ? `The assistant answered a recorded question aloud in ${formatDuration(probe.stages_ms.total ?? 0)}.`
              : "The assistant did not answer a recorded question correctly."}
          </p>
          <p class="small muted" title={formatExactTime(probe.at_s * 1000)}>
            {formatAge(probe.at_s * 1000, now)}
            {slow.length > 0 && `; over budget: ${slow.join(", ").toLowerCase()}`}
          </p>
        </>
      ) : (
        <p class="muted">The self-test has not run yet.</p>
      )}
    </Card>
  );
}
