import type { ReadonlySignal } from "@preact/signals";
import type { Edit } from "../../shared/src/protocol";
import { inputsOf } from "../../shared/src/rows";
import { Alert } from "./Alert";
import { Button } from "./Button";
import type { RowNote, Store } from "./store";

const STRUCTURAL: ReadonlySet<Edit["edit"]> = new Set(["remove", "insert", "replace", "duplicate", "trim"]);

interface Props {
  store: Store;
  note: RowNote;
  index: number;
  scrollTop: ReadonlySignal<number>;
}

/** Why the kernel refused an edit of a row, and the choices that would let it through. */
export function RowNotePanel({ store, note, index, scrollTop }: Props) {
  const { path, refusal, edit } = note;
  const rows = store.rows.value;
  const inputs = inputsOf(rows, rows.findIndex((row) => row.path === path));
  const asksKeep = edit.edit === "remove" && edit.keep === undefined && inputs.length > 1;
  const asksMismatch = refusal.hint === "on_mismatch" && STRUCTURAL.has(edit.edit) && !edit.on_mismatch;

  function close(): void {
    store.note.value = null;
    store.focusWanted.value = path;
  }

  return (
    <div
      class="ke-popover ke-under-row ke-note"
      style={store.places.value.under(index, scrollTop.value)}
      onKeyDown={(event) => {
        if (event.key === "Escape") close();
      }}
    >
      <Alert refusal={refusal}>
        {asksKeep &&
          inputs.map((index, keep) => {
            const name = rows[index]?.name ?? String(keep);
            return (
              <Button key={keep} label={`Keep ${name}`} onClick={() => store.retry(note, { keep })}>
                Keep {name}
              </Button>
            );
          })}
        {asksMismatch && (
          <>
            <Button
              label="Start afresh what does not fit"
              onClick={() => store.retry(note, { on_mismatch: "reinit" })}
            >
              Start afresh what does not fit
            </Button>
            <Button label="Copy what overlaps" onClick={() => store.retry(note, { on_mismatch: "slice" })}>
              Copy what overlaps
            </Button>
          </>
        )}
        <Button label={`Close message for ${path}`} onClick={close}>
          Close
        </Button>
      </Alert>
    </div>
  );
}
