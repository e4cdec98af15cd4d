/** Restore drills: the last result, the next date and the history. */
import type { BackupsResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { DrillChart } from "../../components/DrillChart";
import { StateBadge } from "../../components/StateBadge";
import { formatBytes, formatDuration, formatNumber, formatTime } from "../../format";
import { useAppState } from "../../state";

export function Drills({ backups, onRequest }: { backups: BackupsResponse; onRequest: () => void }) {
  const { drill } = backups;
  const now = useAppState().nowMs.value;
  const last = drill.last;
  return (
    <Card
      title="Restore drills"
      aside={
        <button type="button" class="button" disabled={drill.requested} onClick={onRequest}>
          {drill.requested ? "Requested" : "Run a drill now"}
        </button>
      }
    >
      {last ? (
        <p class="row">
          <StateBadge state={last.success ? "healthy" : "unhealthy"} small />
          {last.success
            ? `Restored and verified: ${formatNumber(last.rows)} rows, ${formatBytes(last.bytes)}, in ${formatDuration(last.took_ms)}.`
            : `Failed at ${last.step ?? "the start"}: ${last.reason ?? ""} (${last.code ?? ""})`}
        </p>
      ) : (
        <p class="muted">No backup has been restored yet, so it is unknown whether that works.</p>
      )}
      <p class="small muted">
        {last && `${formatTime(Date.parse(last.started_at), now)}; `}
        last success: {drill.last_verified_at ? formatTime(Date.parse(drill.last_verified_at), now) : "none"}; next{" "}
        {formatTime(Date.parse(drill.next_at), now)}
      </p>
      <DrillChart drills={drill.history ?? []} />
    </Card>
  );
}
