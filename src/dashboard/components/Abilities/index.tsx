/** Whether the house can hear, think, speak and remember, in its own sentences. */
import type { Ability } from "../../api/types";
import { exact, since } from "../../format";
import { Icon, type IconName } from "../Icon";
import { StateMark } from "../StateMark";
import "./style.css";

const ICONS: Record<string, IconName> = { hear: "hear", think: "think", speak: "speak", remember: "remember" };

interface Props {
  abilities: Ability[];
  /** False while nobody can confirm it: then nothing is shown as known. */
  trusted: boolean;
  now: number;
}

export function Abilities({ abilities, trusted, now }: Props) {
  return (
    <ul class="abilities">
      {abilities.map((one) => {
        const state = trusted ? one.state : "unknown";
        return (
          <li key={one.key} class={`ability ${state}`}>
            <div class="row spread">
              <span class="ability-icon">
                <Icon name={ICONS[one.key] ?? "unknown"} size={26} />
              </span>
              <StateMark state={state} />
            </div>
            <h2>{one.title}</h2>
            <p class="says">{trusted ? one.says : "Not known while the connection is lost."}</p>
            {trusted && one.since_s > 0 && (
              <p class="small soft" title={exact(one.since_s * 1000)}>
                {since(one.since_s * 1000, now)}
              </p>
            )}
          </li>
        );
      })}
    </ul>
  );
}
