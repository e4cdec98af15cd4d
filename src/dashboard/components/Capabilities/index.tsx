/** State of the capabilities of the assistant: listening, commands, speaking, memory. */
import type { CapabilityStatus } from "../../api/types";
import { formatExactTime, formatSince } from "../../format";
import { type IconName, Icon } from "../Icon";
import { StateBadge } from "../StateBadge";
import "./style.css";

const ICONS: Record<string, IconName> = { hear: "hear", think: "think", speak: "speak", remember: "remember" };

interface Props {
  capabilities: CapabilityStatus[];
  /** False while the connection is lost: all states are shown as unknown. */
  trusted: boolean;
  now: number;
}

export function Capabilities({ capabilities, trusted, now }: Props) {
  return (
    <ul class="capabilities">
      {capabilities.map((one) => {
        const state = trusted ? one.state : "unknown";
        return (
          <li key={one.key} class={`capability ${state}`}>
            <div class="row spread">
              <span class="capability-icon">
                <Icon name={ICONS[one.key] ?? "unknown"} size={26} />
              </span>
              <StateBadge state={state} />
            </div>
            <h2>{one.title}</h2>
            <p class="message">{trusted ? one.says : "Unknown while the connection is lost."}</p>
            {trusted && one.since_s > 0 && (
              <p class="small muted" title={formatExactTime(one.since_s * 1000)}>
                {formatSince(one.since_s * 1000, now)}
              </p>
            )}
          </li>
        );
      })}
    </ul>
  );
}
