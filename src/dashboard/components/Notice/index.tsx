/** Message about an error, a warning or missing content. */
import type { ComponentChildren } from "preact";
import { type IconName, Icon } from "../Icon";
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
