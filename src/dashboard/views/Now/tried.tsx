/** How the last spoken question went that the house asked itself. */
import type { ProbeNow } from "../../api/types";
import { Card } from "../../components/Card";
import { StateMark } from "../../components/StateMark";
import { ago, exact, took } from "../../format";

interface TriedProps {
  probe: ProbeNow | null;
  now: number;
  trusted: boolean;
  titles: Record<string, string>;
}

export function Tried({ probe, now, trusted, titles }: TriedProps) {
  const slow = (probe?.over_budget ?? []).map((name) => titles[name] ?? name.replaceAll("_", " "));
  return (
    <Card title="Last try" aside={probe && trusted && <StateMark state={probe.success ? "healthy" : "unhealthy"} small />}>
      {probe ? (
        <>
          <p>
            {probe.success
              ? `A spoken question was heard, understood and answered aloud in ${took(probe.stages_ms.total ?? 0)}.`
              : "A spoken question was not answered as it should be."}
          </p>
          <p class="small soft" title={exact(probe.at_s * 1000)}>
            {ago(probe.at_s * 1000, now)}
            {slow.length > 0 && `; slower than it should be: ${slow.join(", ").toLowerCase()}`}
          </p>
        </>
      ) : (
        <p class="soft">The way from a spoken question to a spoken answer has not been tried yet.</p>
      )}
    </Card>
  );
}
