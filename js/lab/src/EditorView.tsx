import { App } from "../../widget/src/App";
import type { Store } from "../../widget/src/store";

interface Props {
  store: Store;
  /** What is said when the kernel is gone, and the way on. */
  lost: string;
  label: string;
  onClick: () => void;
}

/** The editor, as in a cell, and what to do when its kernel is gone. */
export function EditorView({ store, lost, label, onClick }: Props) {
  return (
    <>
      {store.dead.value && (
        <div class="ke-tab-lost" role="alert">
          <p>{lost}</p>
          <button class="ke-tab-button jp-mod-styled" onClick={onClick}>
            {label}
          </button>
        </div>
      )}
      <App store={store} />
    </>
  );
}
