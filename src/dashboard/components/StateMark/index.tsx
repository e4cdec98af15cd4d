/** How something is: a colour, a shape and a word, so that none of them is needed alone. */
import type { Ability } from "../../api/types";
import { Icon } from "../Icon";
import "./style.css";

export type HealthState = Ability["state"];

export const WORDS: Record<HealthState, string> = {
  healthy: "well",
  degraded: "works, with less",
  unhealthy: "does not work",
  unknown: "not known",
};

export function StateMark({ state, small = false }: { state: HealthState; small?: boolean }) {
  return (
    <span class={`state-mark ${state}${small ? " small-mark" : ""}`} data-state={state}>
      <Icon name={state} size={small ? 14 : 18} />
      <span class="unseen">{WORDS[state]}</span>
    </span>
  );
}
