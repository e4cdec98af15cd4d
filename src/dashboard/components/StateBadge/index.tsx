/** Health state as colour, icon and text. */
import type { CapabilityStatus } from "../../api/types";
import { Icon } from "../Icon";
import "./style.css";

export type HealthState = CapabilityStatus["state"];

export const LABELS: Record<HealthState, string> = {
  healthy: "healthy",
  degraded: "works with limits",
  unhealthy: "does not work",
  unknown: "unknown",
};

export function StateBadge({ state, small = false }: { state: HealthState; small?: boolean }) {
  return (
    <span class={`state-badge ${state}${small ? " small-badge" : ""}`} data-state={state}>
      <Icon name={state} size={small ? 14 : 18} />
      <span class="visually-hidden">{LABELS[state]}</span>
    </span>
  );
}
