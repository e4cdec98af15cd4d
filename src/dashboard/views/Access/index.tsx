/** Who is let in: this browser, all others, and a link for one more. */
import { useEffect, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { BrowserShape } from "../../api/types";
import { Card } from "../../components/Card";
import { Confirm } from "../../components/Confirm";
import { Notice } from "../../components/Notice";
import { ago, moment, number } from "../../format";
import { useHouse } from "../../state";
import "./style.css";

interface Props {
  api: Pick<Api, "browsers" | "showOut" | "link" | "logout">;
  onOut: () => void;
}

export function Access({ api, onOut }: Props) {
  const state = useHouse();
  const [browsers, setBrowsers] = useState<BrowserShape[]>([]);
  const [asked, setAsked] = useState<BrowserShape | null>(null);
  const [trouble, setTrouble] = useState("");
  const [link, setLink] = useState<{ url: string; minutes: number } | null>(null);
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      setTrouble("");
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  const look = (): Promise<void> => attempt(async () => setBrowsers(await api.browsers()));
  useEffect(() => void look(), []);
  const answer = (yes: boolean): void => {
    const browser = asked;
    setAsked(null);
    if (!yes || !browser) return;
    void attempt(async () => {
      await api.showOut(browser.id);
      setBrowsers(await api.browsers());
    });
  };
  const makeLink = (): Promise<void> =>
    attempt(async () => {
      const made = await api.link();
      setLink({ url: `${location.origin}${made.path}`, minutes: Math.round(made.good_for_s / 60) });
    });
  const logout = (): Promise<void> =>
    attempt(async () => {
      await api.logout();
      onOut();
    });
  const now = state.clock.value;
  return (
    <div class="view stack">
      <h1>Access</h1>
      {trouble && <Notice kind="bad" title={trouble} />}
      <Card title="Browsers that are in">
        <ul class="browsers">
          {browsers.map((one) => (
            <li key={one.id} class="row spread">
              <span>
                <span class="browser-name">{one.name}</span>
                {one.this && <span class="this"> this one</span>}
                <span class="small soft block">
                  in since {moment(one.since_s * 1000)}, last here {ago(one.seen_s * 1000, now)}
                </span>
              </span>
              {one.this ? (
                <button type="button" class="button" onClick={() => void logout()}>
                  Log out
                </button>
              ) : (
                <button type="button" class="button risky" onClick={() => setAsked(one)}>
                  Show out<span class="unseen"> {one.name}</span>
                </button>
              )}
            </li>
          ))}
        </ul>
      </Card>
      <Card title="One more browser">
        <p>A link lets one browser in, once. Open it on the phone or the tablet that should come in.</p>
        <p class="row link-row">
          <button type="button" class="button main" onClick={() => void makeLink()}>
            Make a link
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
            <span class="small soft block">Good for {number(link.minutes)} minutes.</span>
          </p>
        )}
      </Card>
      {state.system.value && <p class="small soft">Barnabee {state.system.value.version}</p>}
      {asked && (
        <Confirm
          title={`Show ${asked.name} out?`}
          text="Whoever uses it needs the token or a new link to come in again."
          action="Show out"
          onAnswer={answer}
        />
      )}
    </div>
  );
}
