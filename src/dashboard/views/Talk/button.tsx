/** Talk button: hold it to talk, or tap it to talk until the next tap. */
import { useRef } from "preact/hooks";
import { Icon } from "../../components/Icon";
import type { Call } from "../../voice/call";

const TAP_MS = 350; // a shorter press is a tap

const ACTIVITIES: Record<string, string> = {
  asleep: "Hold to talk",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Processing",
  speaking: "Speaking",
  follow_up: "Anything else?",
};

export function TalkButton({ call }: { call: Call }) {
  const pressedAt = useRef(0);
  const latched = useRef(false);
  const state = call.state.value;
  const activity = call.activity.value;
  const down = (): void => {
    if (latched.current) {
      latched.current = false;
      pressedAt.current = 0;
      call.setTalking(false);
      return;
    }
    pressedAt.current = performance.now();
    call.setTalking(true);
  };
  const up = (): void => {
    if (!pressedAt.current) return;
    latched.current = performance.now() - pressedAt.current < TAP_MS;
    pressedAt.current = 0;
    if (!latched.current) call.setTalking(false);
  };
  const isTalkKey = (event: KeyboardEvent): boolean => event.key === " " || event.key === "Enter";
  const text = state === "connecting" ? "Connecting" : state === "lost" ? "Reconnecting" : ACTIVITIES[activity] ?? activity;
  const talking = call.talking.value;
  if (!talking) latched.current = false;
  return (
    <div class="talk-button-row">
      <button
        type="button"
        class={`talk-button ${talking ? "pressed" : ""} ${activity}`}
        aria-pressed={talking}
        aria-label="Talk"
        aria-describedby="talk-activity"
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          (event.currentTarget as HTMLElement).setPointerCapture?.(event.pointerId);
          down();
        }}
        onPointerUp={up}
        onPointerCancel={up}
        onContextMenu={(event) => event.preventDefault()}
        onKeyDown={(event) => {
          if (!isTalkKey(event)) return;
          event.preventDefault();
          if (!event.repeat) down();
        }}
        onKeyUp={(event) => {
          if (isTalkKey(event)) up();
        }}
      >
        <Icon name="talk" size={44} />
      </button>
      <p id="talk-activity" class="talk-activity" role="status">
        {talking && activity === "asleep" && state === "on" ? "Listening" : text}
      </p>
      {(activity === "speaking" || activity === "thinking") && (
        <button type="button" class="button" onClick={call.stopSpeaking}>
          <Icon name="stop" size={18} /> Stop
        </button>
      )}
    </div>
  );
}
