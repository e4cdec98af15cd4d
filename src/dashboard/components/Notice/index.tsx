/** A sentence that needs to be read: something is wrong, or there is nothing to show yet. */
import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "../Icon";
import "./style.css";

interface Props {
  kind?: "plain" | "warn" | "bad";
  icon?: IconName;
  title: string;
  children?: ComponentChildren;
}

export function Notice({ kind = "plain", icon, title, children }: Props) {
  return (
    <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : undefined}>
      <Icon name={icon ?? (kind === "plain" ? "unknown" : "degraded")} />
      <div>
        <p class="notice-title">{title}</p>
        {children && <div class="small">{children}</div>}
      </div>
    </div>
  );
}
