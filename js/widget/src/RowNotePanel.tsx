import type { ReadonlySignal } from "@preact/signals";
import type { Edit, Row } from "../../shared/src/protocol";
import { inputsOf } from "../../shared/src/rows";
import { Alert } from "./Alert";
import { Button } from "./Button";
import type { RowNote, Store } from "./store";

const STRUCTURAL: ReadonlySet<Edit["edit"]> = new Set(["remove", "insert", "replace", "duplicate", "trim"]);

/** The rows among which a person has to choose when a layer goes: only one can take its place. */
export function inputsToKeep(rows: readonly Row[], edit: Edit): Row[] {
  if (edit.edit !== "remove" || edit.keep !== undefined) return [];
  const inputs = inputsOf(rows, rows.findIndex((row) => row.path === edit.target));
  return inputs.length > 1 ? inputs.flatMap((index) => rows[index] ?? []) : [];
}

interface Props {
  store: Store;
  note: RowNote;
  index: number;
  scrollTop: ReadonlySignal<number>;
}

/** Why the kernel refused an edit of a row, and the choices that would let it through. */
export function RowNotePanel({ store, note, index, scrollTop }: Props) {
  const { path, refusal, edit } = note;
  const inputs = inputsToKeep(store.rows.value, edit);
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
        {inputs.map(({ name }, keep) => (
          <Button key={keep} label={`Keep ${name}`} onClick={() => store.retry(note, { keep })}>
            Keep {name}
          </Button>
        ))}
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
