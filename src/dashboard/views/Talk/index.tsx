/** Talk view: talk button, wake word and text input. */
import { useEffect, useRef } from "preact/hooks";
import { Conversation } from "../../components/Conversation";
import { Icon } from "../../components/Icon";
import { LevelMeter } from "../../components/LevelMeter";
import { Notice } from "../../components/Notice";
import { useAppState } from "../../state";
import type { Call } from "../../voice/call";
import { TalkButton } from "./button";
import "./style.css";

export function Talk({ call }: { call: Call }) {
  const end = useRef<HTMLDivElement>(null);
  const exchanges = call.exchanges.value;
  useEffect(() => {
    end.current?.scrollIntoView?.({ block: "nearest" });
  }, [exchanges]);
  const problem = call.problem.value;
  return (
    <div class="view talk">
      <div class="talk-conversation">
        <h1>Talk</h1>
        {exchanges.length === 0 && (
          <p class="muted">Hold the button and speak, or type. Ask for a light, the time, or one of your notes.</p>
        )}
        <Conversation exchanges={exchanges} />
        <div ref={end} />
      </div>
      <div class="talk-controls">
        {problem && (
          <Notice kind="bad" title={problem.title}>
            {problem.text}
          </Notice>
        )}
        <TalkButton call={call} />
        <LevelMeter level={call.level} label="Microphone level" />
        <WakeSwitch call={call} />
        <TextBox call={call} />
      </div>
    </div>
  );
}

function WakeSwitch({ call }: { call: Call }) {
  const state = useAppState();
  const words = state.system.value?.wake.words.map((one) => `“${one.replaceAll("_", " ")}”`).join(" or ");
  const on = call.listening.value;
  return (
    <button
      type="button"
      class="switch"
      role="switch"
      aria-checked={on}
      onClick={() => call.setListening(!on)}
    >
      <span class="switch-track" aria-hidden="true">
        <span />
      </span>
      Listen for {words ?? "the wake word"}
    </button>
  );
}

function TextBox({ call }: { call: Call }) {
  const state = useAppState();
  const maxChars = state.system.value?.limits.utterance_max_chars;
  const submit = (event: Event): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const text = String(new FormData(form).get("utterance") ?? "").trim();
    if (!text) return;
    form.reset();
    void call.sendText(text);
  };
  return (
    <form class="text-box" onSubmit={submit}>
      <label class="visually-hidden" for="utterance">
        Command
      </label>
      <input id="utterance" class="field" name="utterance" autocomplete="off" placeholder="Type a command" enterkeyhint="send" maxLength={maxChars} />
      <button class="button primary" type="submit" aria-label="Send">
        <Icon name="send" />
      </button>
    </form>
  );
}
