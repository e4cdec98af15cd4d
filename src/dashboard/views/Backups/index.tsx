/** Backups view: replica, snapshots and restore drills. */
import { useEffect, useState } from "preact/hooks";
import { type Api, ApiError } from "../../api/client";
import type { BackupsResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { Notice } from "../../components/Notice";
import { StateBadge } from "../../components/StateBadge";
import { formatAge, formatBytes, formatExactTime, formatNumber, formatTime } from "../../format";
import { useAppState } from "../../state";
import { Drills } from "./drills";
import "./style.css";

const REFRESH_MS = 10_000;
const NOT_FOUND = 404;

export function Backups({ api }: { api: Pick<Api, "getBackups" | "requestDrill"> }) {
  const [backups, setBackups] = useState<BackupsResponse | null>(null);
  const [error, setError] = useState("");
  const [isUnavailable, setUnavailable] = useState(false);
  const [isConfirming, setConfirming] = useState(false);
  const refresh = async (): Promise<void> => {
    try {
      setBackups(await api.getBackups());
      setError("");
    } catch (reason) {
      if (reason instanceof ApiError && reason.status === NOT_FOUND) setUnavailable(true);
      else setError(reason instanceof Error ? reason.message : String(reason));
    }
  };
  useEffect(() => {
    void refresh();
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void refresh();
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const answer = async (yes: boolean): Promise<void> => {
    setConfirming(false);
    if (!yes) return;
    try {
      await api.requestDrill();
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : String(reason));
    }
    await refresh();
  };
  return (
    <div class="view stack">
      <h1>Backups</h1>
      {isUnavailable && <Notice title="No backup is configured." />}
      {error && (
        <Notice kind="bad" title="The state of the backups cannot be read.">
          {error}
        </Notice>
      )}
      {backups && !error && (
        <>
          {backups.warnings.map((one) => (
            <Notice key={one} kind="warn" title={toSentence(one).replaceAll("`", "")} />
          ))}
          <div class="backup-columns">
            <Replica backups={backups} />
            <Snapshot backups={backups} />
          </div>
          <Drills backups={backups} onRequest={() => setConfirming(true)} />
        </>
      )}
      {isConfirming && (
        <ConfirmDialog
          title="Run a restore drill now?"
          text="The newest backups are restored to a temporary directory, checked and compared with the database. Nothing else is changed."
          action="Run drill"
          onAnswer={(yes) => void answer(yes)}
        />
      )}
    </div>
  );
}

/** Returns a warning as a sentence. Pure. */
export function toSentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function Replica({ backups }: { backups: BackupsResponse }) {
  const { replica } = backups;
  const lag = replica.lag_transactions;
  const state = replica.error || lag === null ? "unhealthy" : lag > 0 ? "degraded" : "healthy";
  return (
    <Card title="Replica" aside={<StateBadge state={state} small />}>
      <p class="big tabular">{lag === null ? "unknown" : formatNumber(lag)}</p>
      <p class="muted">{lag === null ? (replica.error ?? "") : "transactions not yet in the replica"}</p>
      <p class="small muted">{replica.url}</p>
    </Card>
  );
}

function Snapshot({ backups }: { backups: BackupsResponse }) {
  const { snapshot } = backups;
  const now = useAppState().nowMs.value;
  return (
    <Card title="Snapshots">
      {snapshot.at ? (
        <>
          <p class="big" title={formatExactTime(Date.parse(snapshot.at))}>
            {formatAge(Date.parse(snapshot.at), now)}
          </p>
          <p class="muted">
            {snapshot.bytes !== null && `${formatBytes(snapshot.bytes)}, `}
            {snapshot.encrypted ? "encrypted" : "not encrypted"}, {formatNumber(snapshot.count)} kept
          </p>
        </>
      ) : (
        <p class="muted">There is no snapshot yet.</p>
      )}
      <p class="small muted">
        next {formatTime(Date.parse(snapshot.next_at), now)}; off-site: {backups.offsite ?? "none"}
      </p>
    </Card>
  );
}
