/** The models one by one: what each was said to need, and what it takes. */
import type { Ledger, ModelShape } from "../../api/types";
import { Card } from "../../components/Card";
import { lasting, memory } from "../../format";

export function Models({ ledger, moving, ask }: { ledger: Ledger; moving: string; ask: (model: ModelShape) => void }) {
  const most = Math.max(1, ...ledger.models.map((one) => Math.max(one.declared_mib, one.measured_mib)));
  return (
    <Card title="Models">
      <ul class="models">
        {ledger.models.map((model) => (
          <li key={model.name}>
            <div class="model-head">
              <span>
                <span class="model-name">{model.name}</span>{" "}
                <span class="small soft">
                  {model.id} · {model.task} · importance {model.priority}
                  {model.preload ? " · always there" : ""}
                </span>
              </span>
              <button
                type="button"
                class={`button ${model.charged_mib > 0 ? "risky" : ""}`}
                disabled={moving !== "" || model.leases.length > 0}
                onClick={() => ask(model)}
              >
                {moving === model.name ? "Moving" : model.charged_mib > 0 ? "Unload" : "Load"}
                <span class="unseen"> {model.name}</span>
              </button>
            </div>
            <Scale model={model} most={most} />
            <p class="small soft">
              {model.state}
              {model.code && `: ${model.code}`}
              {model.leases.length > 0 && `, used by ${model.leases.map((one) => one.session || "somebody").join(", ")}`}
              {model.unused_ms !== null && model.leases.length === 0 && `, not used for ${lasting(model.unused_ms)}`}
            </p>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Scale({ model, most }: { model: ModelShape; most: number }) {
  const rows: Array<[string, number]> = [
    ["declared", model.declared_mib],
    ["measured", model.measured_mib],
    ["held now", model.held_mib],
    ["left behind", model.left_mib],
  ];
  return (
    <dl class="scale small">
      {rows
        .filter(([name, mib]) => mib > 0 || name === "declared")
        .map(([name, mib]) => (
          <div key={name} class={name.replace(" ", "-")}>
            <dt class="soft">{name}</dt>
            <dd>
              <span class="scale-bar" style={{ width: `${(100 * mib) / most}%` }} aria-hidden="true" />
              <span class="figure">{memory(mib)}</span>
            </dd>
          </div>
        ))}
    </dl>
  );
}
