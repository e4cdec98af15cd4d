/** The card's memory: who holds how much of it, who waits, what was decided and why. */
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { Ledger, ModelShape } from "../../api/types";
import { Card } from "../../components/Card";
import { Confirm } from "../../components/Confirm";
import { MemoryBar, type Piece } from "../../components/MemoryBar";
import { Notice } from "../../components/Notice";
import { memory, took } from "../../format";
import { Decisions, Queue } from "./decisions";
import { Models } from "./models";
import "./style.css";

const LOOK_EVERY_MS = 2000;

/** What lies on the card, in the order in which it is drawn. Pure. */
export function piecesOf(ledger: Ledger): Piece[] {
  const { card, models } = ledger;
  const here = models.filter((one) => one.charged_mib > 0);
  const charged = here.reduce((sum, one) => sum + one.charged_mib, 0);
  const left = models.filter((one) => one.charged_mib === 0).reduce((sum, one) => sum + one.left_mib, 0);
  const other = Math.max(0, card.other_mib - card.base_mib - left);
  const free = Math.max(0, card.total_mib - charged - card.base_mib - left - other - card.headroom_mib);
  return [
    ...here.map((one): Piece => ({ key: one.name, label: one.name, mib: one.charged_mib, kind: "model" })),
    { key: "+base", label: "the service itself", mib: card.base_mib, kind: "base" },
    { key: "+left", label: "left after unloading", mib: left, kind: "other" },
    { key: "+other", label: "other programs", mib: other, kind: "other" },
    { key: "+headroom", label: "kept free", mib: card.headroom_mib, kind: "headroom" },
    { key: "+free", label: "free", mib: free, kind: "free" },
  ];
}

export function Gpu({ api }: { api: Pick<Api, "ledger" | "move"> }) {
  const [ledger, setLedger] = useState<Ledger | null>(null);
  const [trouble, setTrouble] = useState("");
  const [asked, setAsked] = useState<ModelShape | null>(null);
  const [moving, setMoving] = useState("");
  const [refused, setRefused] = useState("");
  const look = async (): Promise<void> => {
    try {
      setLedger(await api.ledger());
      setTrouble("");
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
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
    const model = asked;
    setAsked(null);
    if (!yes || !model) return;
    setMoving(model.name);
    setRefused("");
    try {
      await api.move(model.id, model.charged_mib > 0 ? "unload" : "load");
    } catch (error) {
      setRefused(error instanceof Error ? error.message : String(error));
    }
    setMoving("");
    void look();
  };
  return (
    <div class="view stack">
      <h1>Gpu</h1>
      {trouble && (
        <Notice kind="bad" title="Nobody knows what the card holds.">
          {trouble}
        </Notice>
      )}
      {refused && <Notice kind="warn" title={refused} />}
      {ledger && !trouble && (
        <>
          <Card title={ledger.card.name} aside={<span class="figure soft">{memory(ledger.card.total_mib)}</span>}>
            <MemoryBar pieces={piecesOf(ledger)} totalMib={ledger.card.total_mib} label="Memory" />
          </Card>
          <Models ledger={ledger} moving={moving} ask={setAsked} />
          <Queue ledger={ledger} />
          <Decisions decisions={ledger.decisions} />
        </>
      )}
      {asked && (
        <Confirm
          title={asked.charged_mib > 0 ? `Unload ${asked.name}?` : `Load ${asked.name}?`}
          text={
            asked.charged_mib > 0
              ? `It gives back ${memory(asked.charged_mib)}. It comes back when somebody needs it, which takes about ${took(asked.reload_ms)}.`
              : `It takes ${memory(Math.max(asked.declared_mib, asked.measured_mib))} and about ${took(asked.reload_ms)}. Less important models may have to go.`
          }
          action={asked.charged_mib > 0 ? "Unload" : "Load"}
          onAnswer={(yes) => void answer(yes)}
        />
      )}
    </div>
  );
}
