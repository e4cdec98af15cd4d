/** The frame around every view: where one can go, and whether what is shown is true now. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { clock } from "../../format";
import { type ViewName, useHouse } from "../../state";
import { Icon, type IconName } from "../Icon";
import "./style.css";

const TITLES: Array<[ViewName & IconName, string]> = [
  ["now", "Now"],
  ["talk", "Talk"],
  ["turns", "Turns"],
  ["gpu", "Gpu"],
  ["backups", "Backups"],
  ["access", "Access"],
];

export function Shell({ children }: { children: ComponentChildren }) {
  const state = useHouse();
  const here = state.route.value.view;
  const main = useRef<HTMLElement>(null);
  const title = TITLES.find(([name]) => name === here)?.[1] ?? "";
  useEffect(() => {
    document.title = `${title} · Barnabee`;
    main.current?.scrollTo(0, 0);
  }, [title]);
  return (
    <div class="shell">
      <a class="skip button" href="#main" onClick={(event) => {
        event.preventDefault();
        main.current?.focus();
      }}>
        Skip to the content
      </a>
      <nav class="nav" aria-label="Views">
        <p class="brand" aria-hidden="true">
          <img src="/icon.svg" alt="" width="32" height="32" />
          <span>Barnabee</span>
        </p>
        <ul>
          {TITLES.map(([name, text]) => (
            <li key={name}>
              <a href={`#/${name}`} aria-current={name === here ? "page" : undefined}>
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
  const state = useHouse();
  if (state.link.value !== "lost") return null;
  const at = state.heardAt.value;
  return (
    <p class="connection">
      <Icon name="lost" size={20} />
      <span>
        Connection lost, retrying.
        {state.now.value && at > 0 ? ` What is shown is from ${clock(at)}.` : ""}
      </span>
    </p>
  );
}
