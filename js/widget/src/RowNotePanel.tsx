import type { ReadonlySignal } from "@preact/signals";
import type { Edit, Row } from "../../shared/src/protocol";
import { inputsOf } from "../../shared/src/rows";
import { Alert } from "./Alert";
import { Button } from "./Button";
import { Refusal } from "./client";
import { outcome } from "./PlanView";
import { foretelling } from "./pointing";
import type { Retried, RowNote, Store } from "./store";
import { useFetched } from "./useAnswer";

const STRUCTURAL: ReadonlySet<Edit["edit"]> = new Set(["remove", "insert", "replace", "duplicate", "trim"]);

/** The names of inputs among which a person has to choose when a layer goes: only one can take its place. */
export function inputsToKeep(rows: readonly Row[], edit: Edit): string[] {
  if (edit.edit !== "remove" || edit.keep !== undefined) return [];
  const index = rows.findIndex((row) => row.path === edit.target);
  const { calls, inputs, ports } = rows[index] ?? { calls: 0, inputs: [] };
  // A layer that is called several times has the inputs of all its calls.
  if (calls !== 1 || inputs.length < 2) return [];
  const names = inputsOf(rows, index).map((at) => rows[at]?.name ?? "");
  // The kernel counts both from 0.
  const outputs = ports ? tellApart(names, (i) => `output ${ports[i] ?? 0}`) : names;
  return tellApart(outputs, (i) => `input ${i}`);
}

/** Names, of which those that occur several times are told by more than that. */
function tellApart(names: readonly string[], more: (i: number) => string): string[] {
  return names.map((name, i) => (names.indexOf(name) === names.lastIndexOf(name) ? name : `${name}, ${more(i)}`));
}

interface Props {
  store: Store;
  note: RowNote;
  index: number;
  scrollTop: ReadonlySignal<number>;
}

interface Choice {
  label: string;
  choice: Retried;
}

/** A choice, and what it costs. */
function Way({ store, note, label, choice }: Choice & { store: Store; note: RowNote }) {
  const edit = { ...note.edit, ...choice };
  const plan = useFetched(store, JSON.stringify(edit), () => store.preview(edit));
  const leadsNowhere = plan !== null && (plan instanceof Refusal || !plan.ok);
  return (
    <li class="ke-way">
      <Button label={label} disabled={leadsNowhere} foretelling={foretelling(store, () => edit)} onClick={() => store.retry(note, choice)}>
        {label}
      </Button>
      {plan && (
        <span class="ke-dim" dir="auto">
          {plan instanceof Refusal ? plan.message : outcome(plan)}
        </span>
      )}
    </li>
  );
}

/** Why the kernel refused an edit of a row, and the choices that would let it through. */
export function RowNotePanel({ store, note, index, scrollTop }: Props) {
  const { path, refusal, edit } = note;
  const inputs = inputsToKeep(store.rows.value, edit);
  const asksMismatch = refusal.hint === "on_mismatch" && STRUCTURAL.has(edit.edit) && !edit.on_mismatch;

  const choices: Choice[] = inputs.map((name, keep) => ({ label: `Keep ${name}`, choice: { keep } }));
  if (asksMismatch) {
    choices.push(
      { label: "Start afresh what does not fit", choice: { on_mismatch: "reinit" } },
      { label: "Copy what overlaps", choice: { on_mismatch: "slice" } },
    );
  }

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
        {choices.length > 0 && (
          <ul class="ke-ways">
            {choices.map((way) => (
              <Way key={way.label} store={store} note={note} {...way} />
            ))}
          </ul>
        )}
        <Button label={`Close message for ${path}`} onClick={close}>
          Close
        </Button>
      </Alert>
    </div>
  );
}
