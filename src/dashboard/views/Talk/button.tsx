/** The button: held to talk, or tapped to talk until the next tap. */
import { useRef } from "preact/hooks";
import { Icon } from "../../components/Icon";
import type { Call } from "../../talk/call";

const TAP_MS = 350; // shorter is a tap: it stays on until the next one

const DOING: Record<string, string> = {
  asleep: "Hold to talk",
  listening: "Go ahead",
  hearing: "It hears you",
  thinking: "It thinks",
  speaking: "It speaks",
  follow_up: "Anything else?",
};

export function TalkButton({ call }: { call: Call }) {
  const pressedAt = useRef(0);
  const latched = useRef(false);
  const state = call.state.value;
  const doing = call.doing.value;
  const down = (): void => {
    if (latched.current) {
      latched.current = false;
      pressedAt.current = 0;
      call.button(false);
      return;
    }
    pressedAt.current = performance.now();
    call.button(true);
  };
  const up = (): void => {
    if (!pressedAt.current) return;
    latched.current = performance.now() - pressedAt.current < TAP_MS;
    pressedAt.current = 0;
    if (!latched.current) call.button(false);
  };
  const isKey = (event: KeyboardEvent): boolean => event.key === " " || event.key === "Enter";
  const text = state === "connecting" ? "Connecting" : state === "lost" ? "Trying again" : DOING[doing] ?? doing;
  const holding = call.holding.value;
  if (!holding) latched.current = false;
  return (
    <div class="talk-button-row">
      <button
        type="button"
        class={`talk-button ${holding ? "held" : ""} ${doing}`}
        aria-pressed={holding}
        aria-label="Talk"
        aria-describedby="talk-doing"
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          (event.currentTarget as HTMLElement).setPointerCapture?.(event.pointerId);
          down();
        }}
        onPointerUp={up}
        onPointerCancel={up}
        onContextMenu={(event) => event.preventDefault()}
        onKeyDown={(event) => {
          if (!isKey(event)) return;
          event.preventDefault();
          if (!event.repeat) down();
        }}
        onKeyUp={(event) => {
          if (isKey(event)) up();
        }}
      >
        <Icon name="talk" size={44} />
      </button>
      <p id="talk-doing" class="talk-doing" role="status">
        {holding && doing === "asleep" && state === "on" ? "Go ahead" : text}
      </p>
      {(doing === "speaking" || doing === "thinking") && (
        <button type="button" class="button" onClick={call.hush}>
          <Icon name="stop" size={18} /> Enough
        </button>
      )}
    </div>
  );
}
