/** Requests that wait for a model, and the last decisions of the VRAM manager. */
import type { VramDecision, VramLedgerResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { formatClockTime, formatDuration } from "../../format";

const MAX_DECISIONS = 30;

export function WaitingRequests({ ledger }: { ledger: VramLedgerResponse }) {
  return (
    <Card title="Waiting">
      {ledger.waiting.length === 0 ? (
        <p class="muted">No request is waiting for a model.</p>
      ) : (
        <ol>
          {ledger.waiting.map((one, index) => (
            <li key={index} class="row spread">
              <span>
                {one.session || "a request"} for {one.model}
              </span>
              <span class="tabular muted">{formatDuration(one.waited_ms)}</span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}

export function Decisions({ decisions }: { decisions: VramDecision[] }) {
  const shown = decisions.slice(-MAX_DECISIONS).reverse();
  return (
    <Card title="Last decisions">
      {shown.length === 0 && <p class="muted">None yet.</p>}
      <ol class="decisions small">
        {shown.map((one, index) => (
          <li key={`${one.at}${index}`}>
            <span class="tabular muted">{formatClockTime(one.at * 1000)}</span>
            <span class="decision">{one.decision.replaceAll("_", " ")}</span>
            <span>{one.model}</span>
            <span class="muted reason-text">
              {one.reason}
              {one.code && ` (${one.code})`}
            </span>
          </li>
        ))}
      </ol>
    </Card>
  );
}
