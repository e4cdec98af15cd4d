/** Models with their declared and measured memory. */
import type { ModelResponse, VramLedgerResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { formatLongDuration, formatMemory } from "../../format";

export function Models({ ledger, moving, onMove }: { ledger: VramLedgerResponse; moving: string; onMove: (model: ModelResponse) => void }) {
  const maxMib = Math.max(1, ...ledger.models.map((one) => Math.max(one.declared_mib, one.measured_mib)));
  return (
    <Card title="Models">
      <ul class="models">
        {ledger.models.map((model) => (
          <li key={model.name}>
            <div class="model-head">
              <span>
                <span class="model-name">{model.name}</span>{" "}
                <span class="small muted">
                  {model.id} · {model.task} · priority {model.priority}
                  {model.preload ? " · preloaded" : ""}
                </span>
              </span>
              <button
                type="button"
                class={`button ${model.charged_mib > 0 ? "danger" : ""}`}
                disabled={moving !== "" || model.leases.length > 0}
                onClick={() => onMove(model)}
              >
                {moving === model.name ? "Please wait" : model.charged_mib > 0 ? "Unload" : "Load"}
                <span class="visually-hidden"> {model.name}</span>
              </button>
            </div>
            <MemoryScale model={model} maxMib={maxMib} />
            <p class="small muted">
              {model.state}
              {model.code && `: ${model.code}`}
              {model.leases.length > 0 && `, in use by ${model.leases.map((one) => one.session || "a request").join(", ")}`}
              {model.unused_ms !== null && model.leases.length === 0 && `, unused for ${formatLongDuration(model.unused_ms)}`}
            </p>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function MemoryScale({ model, maxMib }: { model: ModelResponse; maxMib: number }) {
  const rows: Array<[string, number]> = [
    ["declared", model.declared_mib],
    ["measured", model.measured_mib],
    ["held now", model.held_mib],
    ["not released", model.left_mib],
  ];
  return (
    <dl class="scale small">
      {rows
        .filter(([name, mib]) => mib > 0 || name === "declared")
        .map(([name, mib]) => (
          <div key={name} class={name.replace(" ", "-")}>
            <dt class="muted">{name}</dt>
            <dd>
              <span class="scale-bar" style={{ width: `${(100 * mib) / maxMib}%` }} aria-hidden="true" />
              <span class="tabular">{formatMemory(mib)}</span>
            </dd>
          </div>
        ))}
    </dl>
  );
}
