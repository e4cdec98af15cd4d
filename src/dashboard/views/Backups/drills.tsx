/** The rehearsals: how the last one went, when the next one is, and all before. */
import type { BackupsNow } from "../../api/types";
import { Card } from "../../components/Card";
import { DrillChart } from "../../components/DrillChart";
import { StateMark } from "../../components/StateMark";
import { moment, number, size, took } from "../../format";
import { useHouse } from "../../state";

export function Drills({ found, rehearse }: { found: BackupsNow; rehearse: () => void }) {
  const { drill } = found;
  const now = useHouse().clock.value;
  const last = drill.last;
  return (
    <Card
      title="Rehearsals"
      aside={
        <button type="button" class="button" disabled={drill.requested} onClick={rehearse}>
          {drill.requested ? "Asked for" : "Rehearse now"}
        </button>
      }
    >
      {last ? (
        <p class="row">
          <StateMark state={last.success ? "healthy" : "unhealthy"} small />
          {last.success
            ? `Restored and equal: ${number(last.rows)} rows, ${size(last.bytes)}, in ${took(last.took_ms)}.`
            : `Failed at ${last.step ?? "the start"}: ${last.reason ?? ""} (${last.code ?? ""})`}
        </p>
      ) : (
        <p class="soft">A copy has not been restored yet, so nobody knows whether it can be.</p>
      )}
      <p class="small soft">
        {last && `${moment(Date.parse(last.started_at), now)}; `}
        last that succeeded: {drill.last_verified_at ? moment(Date.parse(drill.last_verified_at), now) : "none"}; next{" "}
        {moment(Date.parse(drill.next_at), now)}
      </p>
      <DrillChart drills={drill.history ?? []} />
    </Card>
  );
}
