import { useSignal } from "@preact/signals";
import type { Row } from "../../shared/src/protocol";
import { Arguments } from "./Arguments";
import "./detail.css";
import { LayerWeights } from "./LayerWeights";
import type { Store } from "./store";

/** What there is to see of a row that is open: its weights, and its arguments. */
export function Detail({ store, row }: { store: Store; row: Row }) {
  const log = useSignal(false);
  const { path, kind } = row;
  const inside = kind === "model" && row.weights > 0;

  /** Wherever in it the keyboard is. */
  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    store.opened.value = null;
    store.focusWanted.value = path;
  }

  return (
    <div class="ke-detail-body" onKeyDown={onKeyDown}>
      {row.weights > 0 && (
        <div class="ke-detail-weights">
          <div class="ke-detail-head">
            <h3>Weights</h3>
            <label class="ke-log">
              <input type="checkbox" checked={log.value} onChange={(event) => (log.value = event.currentTarget.checked)} />
              Log scale
            </label>
          </div>
          {inside && <p class="ke-dim">Unfold the model to look at the layers inside, one by one.</p>}
          <LayerWeights store={store} path={path} log={log.value} />
        </div>
      )}
      <div class="ke-detail-arguments">
        <h3>Arguments</h3>
        <Arguments store={store} row={row} />
      </div>
    </div>
  );
}
