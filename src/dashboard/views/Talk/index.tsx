/** Talking to the house from this page: by button, by its name, or in writing. */
import { useEffect, useRef } from "preact/hooks";
import { Conversation } from "../../components/Conversation";
import { Icon } from "../../components/Icon";
import { Meter } from "../../components/Meter";
import { Notice } from "../../components/Notice";
import { useHouse } from "../../state";
import type { Call } from "../../talk/call";
import { TalkButton } from "./button";
import "./style.css";

export function Talk({ call }: { call: Call }) {
  const end = useRef<HTMLDivElement>(null);
  const said = call.said.value;
  useEffect(() => {
    end.current?.scrollIntoView?.({ block: "nearest" });
  }, [said]);
  const problem = call.problem.value;
  return (
    <div class="view talk">
      <div class="talk-said">
        <h1>Talk</h1>
        {said.length === 0 && (
          <p class="soft">Hold the button and ask for a light, the time, or anything you told it. Or type.</p>
        )}
        <Conversation said={said} />
        <div ref={end} />
      </div>
      <div class="talk-controls">
        {problem && (
          <Notice kind="bad" title={problem.title}>
            {problem.text}
          </Notice>
        )}
        <TalkButton call={call} />
        <Meter level={call.level} label="Level of the microphone" />
        <WakeSwitch call={call} />
        <TextBox call={call} />
      </div>
    </div>
  );
}

function WakeSwitch({ call }: { call: Call }) {
  const house = useHouse();
  const words = house.system.value?.wake.words.map((one) => `“${one.replaceAll("_", " ")}”`).join(" or ");
  const on = call.listening.value;
  return (
    <button
      type="button"
      class="switch"
      role="switch"
      aria-checked={on}
      onClick={() => call.listen(!on)}
    >
      <span class="switch-track" aria-hidden="true">
        <span />
      </span>
      Listen for {words ?? "its name"}
    </button>
  );
}

function TextBox({ call }: { call: Call }) {
  const house = useHouse();
  const longest = house.system.value?.limits.utterance_max_chars;
  const submit = (event: Event): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const text = String(new FormData(form).get("utterance") ?? "").trim();
    if (!text) return;
    form.reset();
    void call.type(text);
  };
  return (
    <form class="text-box" onSubmit={submit}>
      <label class="unseen" for="utterance">
        What you want to say, in writing
      </label>
      <input id="utterance" class="field" name="utterance" autocomplete="off" placeholder="Or type it" enterkeyhint="send" maxLength={longest} />
      <button class="button main" type="submit" aria-label="Send">
        <Icon name="send" />
      </button>
    </form>
  );
}
