/** Dialog that asks for confirmation of an action. */
import { useEffect, useRef } from "preact/hooks";
import "./style.css";

interface Props {
  title: string;
  text: string;
  action: string;
  onAnswer: (yes: boolean) => void;
}

export function ConfirmDialog({ title, text, action, onAnswer }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal?.();
    return () => dialog.current?.close?.();
  }, []);
  return (
    <dialog
      class="confirm-dialog"
      ref={dialog}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onAnswer(false);
      }}
    >
      <h2>{title}</h2>
      <p>{text}</p>
      <div class="row dialog-buttons">
        <button class="button" type="button" onClick={() => onAnswer(false)}>
          Cancel
        </button>
        <button class="button primary" type="button" onClick={() => onAnswer(true)}>
          {action}
        </button>
      </div>
    </dialog>
  );
}
