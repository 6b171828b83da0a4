import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { count } from "../../shared/src/format";
import type { Row } from "../../shared/src/protocol";
import { inputsOf } from "../../shared/src/rows";
import { Arguments } from "./Arguments";
import { Button } from "./Button";
import "./detail.css";
import { LayerWeights } from "./LayerWeights";
import type { Store } from "./store";

/** How many ends of each kind are listed. */
const ENDS = 12;

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
      <Wiring store={store} row={row} />
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
          {store.training.found.value !== null && (
            <p class="ke-dim">The weights as they are now; the row shows them at step {count(store.training.found.value)}.</p>
          )}
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

/** Where what the layer takes comes from, and who takes what it makes. */
function Wiring({ store, row }: { store: Store; row: Row }) {
  const rows = store.rows.value;
  const [takes, feeds] = useMemo(() => {
    const here = rows.findIndex((other) => other.path === row.path);
    const from = inputsOf(rows, here).flatMap((number) => rows[number]?.path ?? []);
    const to = rows.filter((_, number) => inputsOf(rows, number).includes(here)).map((other) => other.path);
    return [[...new Set(from)], to];
  }, [rows, row.path]);
  return (
    <div class="ke-wiring">
      <Ends store={store} word="Takes" paths={takes} />
      <Ends store={store} word="Feeds" paths={feeds} />
    </div>
  );
}

function Ends({ store, word, paths }: { store: Store; word: string; paths: readonly string[] }) {
  if (paths.length === 0) return null;
  return (
    <p>
      <span class="ke-dim">{word}</span>
      {paths.slice(0, ENDS).map((path) => (
        <Button key={path} label={`Go to ${path}`} onClick={() => store.goTo(path)}>
          <span dir="auto">{path}</span>
        </Button>
      ))}
      {paths.length > ENDS && <span class="ke-dim">and {count(paths.length - ENDS)} more</span>}
    </p>
  );
}
