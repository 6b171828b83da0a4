import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Button } from "./Button";
import type { Store } from "./store";

interface Props {
  store: Store;
  title: string;
  /** What it is about, beside the title. */
  about: string;
  /** The row that the focus goes to where the button that opened the dialog is gone. */
  path: string;
  ready: boolean;
  onApply: () => void;
  children: ComponentChildren;
}

/** A native modal dialog: the browser keeps the focus inside, and nothing of the notebook clips it. */
export function Dialog({ store, title, about, path, ready, onApply, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const close = () => (store.dialog.value = null);

  useLayoutEffect(() => {
    const box = dialog.current;
    box?.showModal();
    return () => {
      // Closing gives the focus back to what had it before. That may be gone by now, as a menu is.
      box?.close();
      const there = (box?.getRootNode() as Document | ShadowRoot).activeElement;
      if (!there?.closest(".ke-root") || box?.contains(there)) store.focusWanted.value = path;
    };
  }, []);

  return (
    <dialog
      ref={dialog}
      class="ke-dialog"
      aria-label={title}
      aria-modal="true"
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClose={close}
    >
      <form
        class="ke-dialog-body"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          onApply();
        }}
      >
        <header class="ke-dialog-head">
          <h3>{title}</h3>
          <span class="ke-dim" dir="auto">
            {about}
          </span>
        </header>
        {children}
        <footer class="ke-dialog-foot">
          <Button label="Cancel" onClick={close}>
            Cancel
          </Button>
          {/* One that is disabled would take the Enter key from the fields. */}
          <button type="submit" class="ke-button ke-primary" aria-disabled={!ready}>
            Apply
          </button>
        </footer>
      </form>
    </dialog>
  );
}
