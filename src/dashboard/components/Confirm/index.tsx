/** A question before something is done that somebody may notice. */
import { useEffect, useRef } from "preact/hooks";
import "./style.css";

interface Props {
  title: string;
  text: string;
  action: string;
  onAnswer: (yes: boolean) => void;
}

export function Confirm({ title, text, action, onAnswer }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal?.();
    return () => dialog.current?.close?.();
  }, []);
  return (
    <dialog
      class="confirm"
      ref={dialog}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onAnswer(false);
      }}
    >
      <h2>{title}</h2>
      <p>{text}</p>
      <div class="row confirm-buttons">
        <button class="button" type="button" onClick={() => onAnswer(false)}>
          Leave it
        </button>
        <button class="button main" type="button" onClick={() => onAnswer(true)}>
          {action}
        </button>
      </div>
    </dialog>
  );
}
