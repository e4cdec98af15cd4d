/** Layout of all views: navigation and state of the connection. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatClockTime } from "../../format";
import { type ViewName, useAppState } from "../../state";
import { type IconName, Icon } from "../Icon";
import "./style.css";

const TITLES: Array<[ViewName & IconName, string]> = [
  ["status", "Status"],
  ["talk", "Talk"],
  ["turns", "Turns"],
  ["gpu", "GPU"],
  ["backups", "Backups"],
  ["access", "Access"],
];

export function Layout({ children }: { children: ComponentChildren }) {
  const state = useAppState();
  const current = state.route.value.view;
  const main = useRef<HTMLElement>(null);
  const title = TITLES.find(([name]) => name === current)?.[1] ?? "";
  useEffect(() => {
    document.title = `${title} · Barnabee`;
    main.current?.scrollTo(0, 0);
  }, [title]);
  return (
    <div class="layout">
      <a class="skip button" href="#main" onClick={(event) => {
        event.preventDefault();
        main.current?.focus();
      }}>
        Skip to the content
      </a>
      <nav class="nav" aria-label="Views">
        <p class="brand" aria-hidden="true">
          <img src="icon.svg" alt="" width="32" height="32" />
          <span>Barnabee</span>
        </p>
        <ul>
          {TITLES.map(([name, text]) => (
            <li key={name}>
              <a href={`#/${name}`} aria-current={name === current ? "page" : undefined}>
                <Icon name={name} />
                <span>{text}</span>
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div class="body">
        <div role="status" aria-live="polite">
          <Connection />
        </div>
        <main id="main" ref={main} tabIndex={-1} aria-label={title}>
          {children}
        </main>
      </div>
    </div>
  );
}

function Connection() {
  const state = useAppState();
  if (state.connection.value !== "lost") return null;
  const at = state.lastEventAt.value;
  return (
    <p class="connection">
      <Icon name="lost" size={20} />
      <span>
        Connection lost, retrying.
        {state.status.value && at > 0 ? ` The page shows the status of ${formatClockTime(at)}.` : ""}
      </span>
    </p>
  );
}
