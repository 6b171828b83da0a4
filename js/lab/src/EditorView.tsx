import { App } from "../../widget/src/App";
import type { ReadonlySignal } from "@preact/signals";
import type { Store } from "../../widget/src/store";

interface Props {
  store: Store;
  /** What is said when the kernel is gone, or what is edited is of before, and the way on. */
  lost: string;
  outdated?: ReadonlySignal<string | null>;
  label: string;
  onClick: () => void;
  /** What is being done and may take a while. */
  busy?: ReadonlySignal<string | null>;
}

/** The editor, as in a cell, and what to do when its kernel is gone. */
export function EditorView({ store, lost, outdated, label, onClick, busy }: Props) {
  const trouble = store.dead.value ? lost : outdated?.value;
  return (
    <>
      {trouble && (
        <div class="ke-tab-lost" role="alert">
          <p dir="auto">{trouble}</p>
          <button class="ke-tab-button jp-mod-styled" onClick={onClick}>
            {label}
          </button>
        </div>
      )}
      <App store={store} />
      {busy && busy.value !== null && (
        <p class="ke-tab-busy" role="status">
          {busy.value}
        </p>
      )}
    </>
  );
}
