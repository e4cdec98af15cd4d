/** Login page: the API token; one-time links are opened directly. */
import { useState } from "preact/hooks";
import { type Api, ApiError } from "../../api/client";
import { useAppState } from "../../state";
import { Notice } from "../Notice";
import "./style.css";

interface Props {
  api: Pick<Api, "logIn">;
  onLogin: () => void;
}

export function Login({ api, onLogin }: Props) {
  const state = useAppState();
  const [busy, setBusy] = useState(false);
  const loginError = state.loginError.value;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = String(new FormData(form).get("token") ?? "").trim();
    if (!token) return;
    setBusy(true);
    try {
      await api.logIn(token);
      state.loginError.value = "";
      onLogin();
    } catch (error) {
      const isWrongToken = error instanceof ApiError && error.status === 401;
      state.loginError.value = isWrongToken
        ? "The token is wrong."
        : error instanceof Error
          ? error.message
          : String(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="login">
      <form class="login-card stack" onSubmit={(event) => void submit(event)}>
        <img src="icon.svg" alt="" width="64" height="64" />
        <h1>Barnabee</h1>
        {loginError && <Notice kind="bad" title={loginError} />}
        <label class="stack login-label">
          <span>API token</span>
          <input class="field" name="token" type="password" autocomplete="current-password" required maxLength={512} />
        </label>
        <button class="button primary" type="submit" disabled={busy}>
          Log in
        </button>
        <p class="small muted">
          Or open a one-time link: run <code>barnabee link</code> on the server, or create one under Access
          in a browser that is logged in.
        </p>
      </form>
    </main>
  );
}
