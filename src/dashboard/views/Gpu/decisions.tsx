/** Who waits for a model, and what was decided last, with its reason. */
import type { Decision, Ledger } from "../../api/types";
import { Card } from "../../components/Card";
import { clock, took } from "../../format";

const DECISIONS_SHOWN = 30;

export function Queue({ ledger }: { ledger: Ledger }) {
  return (
    <Card title="Waiting">
      {ledger.waiting.length === 0 ? (
        <p class="soft">Nobody waits for a model.</p>
      ) : (
        <ol>
          {ledger.waiting.map((one, index) => (
            <li key={index} class="row spread">
              <span>
                {one.session || "somebody"} for {one.model}
              </span>
              <span class="figure soft">{took(one.waited_ms)}</span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}

export function Decisions({ decisions }: { decisions: Decision[] }) {
  const shown = decisions.slice(-DECISIONS_SHOWN).reverse();
  return (
    <Card title="Last decisions">
      {shown.length === 0 && <p class="soft">None yet.</p>}
      <ol class="decisions small">
        {shown.map((one, index) => (
          <li key={`${one.at}${index}`}>
            <span class="figure soft">{clock(one.at * 1000)}</span>
            <span class="decision">{one.decision.replaceAll("_", " ")}</span>
            <span>{one.model}</span>
            <span class="soft reason-text">
              {one.reason}
              {one.code && ` (${one.code})`}
            </span>
          </li>
        ))}
      </ol>
    </Card>
  );
}
