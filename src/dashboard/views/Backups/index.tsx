/** The copies of everything that was said: how far behind they are, and whether they can be restored. */
import { useEffect, useState } from "preact/hooks";
import { type Api, Trouble } from "../../api/client";
import type { BackupsNow } from "../../api/types";
import { Card } from "../../components/Card";
import { Confirm } from "../../components/Confirm";
import { Notice } from "../../components/Notice";
import { StateMark } from "../../components/StateMark";
import { ago, exact, moment, number, size } from "../../format";
import { useHouse } from "../../state";
import { Calls } from "./calls";
import { Drills } from "./drills";
import "./style.css";

const LOOK_EVERY_MS = 10_000;
const NOT_THERE = 404;

export function Backups({ api }: { api: Pick<Api, "backups" | "rehearse"> }) {
  const [found, setFound] = useState<BackupsNow | null>(null);
  const [trouble, setTrouble] = useState("");
  const [none, setNone] = useState(false);
  const [asked, setAsked] = useState(false);
  const look = async (): Promise<void> => {
    try {
      setFound(await api.backups());
      setTrouble("");
    } catch (error) {
      if (error instanceof Trouble && error.status === NOT_THERE) setNone(true);
      else setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  useEffect(() => {
    void look();
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void look();
    }, LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  const answer = async (yes: boolean): Promise<void> => {
    setAsked(false);
    if (!yes) return;
    try {
      await api.rehearse();
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
    await look();
  };
  return (
    <div class="view stack">
      <h1>Backups</h1>
      {none && <Notice title="No figures yet.">This house does not tell how its backups are.</Notice>}
      {trouble && (
        <Notice kind="bad" title="Nobody knows how the backups are.">
          {trouble}
        </Notice>
      )}
      {found && !trouble && (
        <>
          {found.warnings.map((one) => (
            <Notice key={one} kind="warn" title={sentence(one).replaceAll("`", "")} />
          ))}
          <div class="backup-columns">
            <Replica found={found} />
            <Snapshot found={found} />
            <Calls calls={found.calls_today} />
          </div>
          <Drills found={found} rehearse={() => setAsked(true)} />
        </>
      )}
      {asked && (
        <Confirm
          title="Rehearse now?"
          text="The newest copies are restored to a scratch place, checked and compared with what the house has. Nothing of the house is changed."
          action="Rehearse"
          onAnswer={(yes) => void answer(yes)}
        />
      )}
    </div>
  );
}

/** A warning as a sentence of its own. Pure. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function Replica({ found }: { found: BackupsNow }) {
  const { replica } = found;
  const lag = replica.lag_transactions;
  const state = replica.error || lag === null ? "unhealthy" : lag > 0 ? "degraded" : "healthy";
  return (
    <Card title="The copy as it happens" aside={<StateMark state={state} small />}>
      <p class="big figure">{lag === null ? "not known" : number(lag)}</p>
      <p class="soft">{lag === null ? (replica.error ?? "") : "transactions that are not in the copy yet"}</p>
      <p class="small soft">{replica.url}</p>
    </Card>
  );
}

function Snapshot({ found }: { found: BackupsNow }) {
  const { snapshot } = found;
  const now = useHouse().clock.value;
  return (
    <Card title="Snapshots">
      {snapshot.at ? (
        <>
          <p class="big" title={exact(Date.parse(snapshot.at))}>
            {ago(Date.parse(snapshot.at), now)}
          </p>
          <p class="soft">
            {snapshot.bytes !== null && `${size(snapshot.bytes)}, `}
            {snapshot.encrypted ? "encrypted" : "not encrypted"}, {number(snapshot.count)} kept
          </p>
        </>
      ) : (
        <p class="soft">None yet.</p>
      )}
      <p class="small soft">
        next {moment(Date.parse(snapshot.next_at), now)}; elsewhere: {found.offsite ?? "nowhere"}
      </p>
    </Card>
  );
}
