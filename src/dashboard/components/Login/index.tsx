/** The door: the house's token, or a one-time link made at its machine or by another browser. */
import { useState } from "preact/hooks";
import { type Api, Trouble } from "../../api/client";
import { useHouse } from "../../state";
import { Notice } from "../Notice";
import "./style.css";

interface Props {
  api: Pick<Api, "login">;
  onIn: () => void;
}

export function Login({ api, onIn }: Props) {
  const state = useHouse();
  const [busy, setBusy] = useState(false);
  const refusal = state.refusal.value;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = String(new FormData(form).get("token") ?? "").trim();
    if (!token) return;
    setBusy(true);
    try {
      await api.login(token);
      state.refusal.value = "";
      onIn();
    } catch (error) {
      const wrong = error instanceof Trouble && error.status === 401;
      state.refusal.value = wrong
        ? "That is not this house's token."
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
        <img src="/icon.svg" alt="" width="64" height="64" />
        <h1>Barnabee</h1>
        {refusal && <Notice kind="bad" title={refusal} />}
        <label class="stack login-label">
          <span>The house's token</span>
          <input class="field" name="token" type="password" autocomplete="current-password" required maxLength={512} />
        </label>
        <button class="button main" type="submit" disabled={busy}>
          Come in
        </button>
        <p class="small soft">
          Or open a one-time link: <code>barnabee link</code> prints one at the house's machine, and a
          browser that is in makes one under Access.
        </p>
      </form>
    </main>
  );
}
