/** GPU view: memory, models, waiting requests and decisions. */
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { ModelResponse, VramLedgerResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { type MemorySegment, MemoryBar } from "../../components/MemoryBar";
import { Notice } from "../../components/Notice";
import { formatDuration, formatMemory } from "../../format";
import { Decisions, WaitingRequests } from "./decisions";
import { Models } from "./models";
import "./style.css";

const REFRESH_MS = 2000;

/** Returns the segments of the memory bar in display order. Pure. */
export function listMemorySegments(ledger: VramLedgerResponse): MemorySegment[] {
  const { card, models } = ledger;
  const loaded = models.filter((one) => one.charged_mib > 0);
  const charged = loaded.reduce((sum, one) => sum + one.charged_mib, 0);
  const left = models.filter((one) => one.charged_mib === 0).reduce((sum, one) => sum + one.left_mib, 0);
  const other = Math.max(0, card.other_mib - card.base_mib - left);
  const free = Math.max(0, card.total_mib - charged - card.base_mib - left - other - card.headroom_mib);
  return [
    ...loaded.map((one): MemorySegment => ({ key: one.name, label: one.name, mib: one.charged_mib, kind: "model" })),
    { key: "+base", label: "gpu service", mib: card.base_mib, kind: "base" },
    { key: "+left", label: "not released after unloading", mib: left, kind: "other" },
    { key: "+other", label: "other programs", mib: other, kind: "other" },
    { key: "+headroom", label: "reserved", mib: card.headroom_mib, kind: "headroom" },
    { key: "+free", label: "free", mib: free, kind: "free" },
  ];
}

export function Gpu({ api }: { api: Pick<Api, "getVramLedger" | "moveModel"> }) {
  const [ledger, setLedger] = useState<VramLedgerResponse | null>(null);
  const [loadError, setLoadError] = useState("");
  const [selected, setSelected] = useState<ModelResponse | null>(null);
  const [moving, setMoving] = useState("");
  const [moveError, setMoveError] = useState("");
  const refresh = async (): Promise<void> => {
    try {
      setLedger(await api.getVramLedger());
      setLoadError("");
    } catch (error) {
      setLoadError(error instanceof Error ? error.message : String(error));
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
    const model = selected;
    setSelected(null);
    if (!yes || !model) return;
    setMoving(model.name);
    setMoveError("");
    try {
      await api.moveModel(model.id, model.charged_mib > 0 ? "unload" : "load");
    } catch (error) {
      setMoveError(error instanceof Error ? error.message : String(error));
    }
    setMoving("");
    void refresh();
  };
  return (
    <div class="view stack">
      <h1>GPU</h1>
      {loadError && (
        <Notice kind="bad" title="The GPU memory cannot be read.">
          {loadError}
        </Notice>
      )}
      {moveError && <Notice kind="warn" title={moveError} />}
      {ledger && !loadError && (
        <>
          <Card title={ledger.card.name} aside={<span class="tabular muted">{formatMemory(ledger.card.total_mib)}</span>}>
            <MemoryBar segments={listMemorySegments(ledger)} totalMib={ledger.card.total_mib} label="Memory" />
          </Card>
          <Models ledger={ledger} moving={moving} onMove={setSelected} />
          <WaitingRequests ledger={ledger} />
          <Decisions decisions={ledger.decisions} />
        </>
      )}
      {selected && (
        <ConfirmDialog
          title={selected.charged_mib > 0 ? `Unload ${selected.name}?` : `Load ${selected.name}?`}
          text={
            selected.charged_mib > 0
              ? `This frees ${formatMemory(selected.charged_mib)}. It is loaded again when needed, which takes about ${formatDuration(selected.reload_ms)}.`
              : `This needs ${formatMemory(Math.max(selected.declared_mib, selected.measured_mib))} and about ${formatDuration(selected.reload_ms)}. Models with lower priority may be unloaded.`
          }
          action={selected.charged_mib > 0 ? "Unload" : "Load"}
          onAnswer={(yes) => void answer(yes)}
        />
      )}
    </div>
  );
}
