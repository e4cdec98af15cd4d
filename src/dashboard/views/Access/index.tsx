/** Access view: web sessions, and login links for further browsers. */
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { WebSessionResponse } from "../../api/types";
import { Card } from "../../components/Card";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { Notice } from "../../components/Notice";
import { formatAge, formatNumber, formatTime } from "../../format";
import { useAppState } from "../../state";
import "./style.css";

interface Props {
  api: Pick<Api, "listSessions" | "revokeSession" | "createLoginLink" | "logOut">;
  onLogout: () => void;
}

export function Access({ api, onLogout }: Props) {
  const state = useAppState();
  const [sessions, setSessions] = useState<WebSessionResponse[]>([]);
  const [selected, setSelected] = useState<WebSessionResponse | null>(null);
  const [error, setError] = useState("");
  const [link, setLink] = useState<{ url: string; minutes: number } | null>(null);
  const run = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      setError("");
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : String(reason));
    }
  };
  const refresh = (): Promise<void> => run(async () => setSessions(await api.listSessions()));
  useEffect(() => void refresh(), []);
  const answer = (yes: boolean): void => {
    const session = selected;
    setSelected(null);
    if (!yes || !session) return;
    void run(async () => {
      await api.revokeSession(session.id);
      setSessions(await api.listSessions());
    });
  };
  const createLink = (): Promise<void> =>
    run(async () => {
      const created = await api.createLoginLink();
      setLink({ url: new URL(`.${created.path}`, location.href).href, minutes: Math.round(created.good_for_s / 60) });
    });
  const logOut = (): Promise<void> =>
    run(async () => {
      await api.logOut();
      onLogout();
    });
  const now = state.nowMs.value;
  return (
    <div class="view stack">
      <h1>Access</h1>
      {error && <Notice kind="bad" title={error} />}
      <Card title="Logged-in browsers">
        <ul class="sessions">
          {sessions.map((one) => (
            <li key={one.id} class="row spread">
              <span>
                <span class="session-name">{one.name}</span>
                {one.this && <span class="current"> this browser</span>}
                <span class="small muted block">
                  logged in since {formatTime(one.since_s * 1000)}, last active {formatAge(one.seen_s * 1000, now)}
                </span>
              </span>
              {one.this ? (
                <button type="button" class="button" onClick={() => void logOut()}>
                  Log out
                </button>
              ) : (
                <button type="button" class="button danger" onClick={() => setSelected(one)}>
                  Log out<span class="visually-hidden"> {one.name}</span>
                </button>
              )}
            </li>
          ))}
        </ul>
      </Card>
      <Card title="Log in another browser">
        <p>A link logs in one browser, once. Open it on the phone or tablet.</p>
        <p class="row link-row">
          <button type="button" class="button primary" onClick={() => void createLink()}>
            Create a link
          </button>
          {link && (
            <button type="button" class="button" onClick={() => void navigator.clipboard?.writeText(link.url)}>
              Copy
            </button>
          )}
        </p>
        {link && (
          <p>
            <code class="link-text">{link.url}</code>
            <span class="small muted block">Valid for {formatNumber(link.minutes)} minutes.</span>
          </p>
        )}
      </Card>
      {state.system.value && <p class="small muted">Barnabee {state.system.value.version}</p>}
      {selected && (
        <ConfirmDialog
          title={`Log out ${selected.name}?`}
          text="This browser then needs the API token or a new link to log in."
          action="Log out"
          onAnswer={answer}
        />
      )}
    </div>
  );
}
