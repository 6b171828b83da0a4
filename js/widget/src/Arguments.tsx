import { useState } from "preact/hooks";
import { fill, present, type Fields } from "../../shared/src/form";
import type { Arguments as Told, Edit, Mismatch, Row } from "../../shared/src/protocol";
import { Alert } from "./Alert";
import { ArgumentForm } from "./ArgumentForm";
import { Button } from "./Button";
import { MismatchChoice } from "./Choice";
import { Refusal } from "./client";
import { PlanView } from "./PlanView";
import type { Store } from "./store";
import { useAnswer } from "./useAnswer";
import { useEdit } from "./useEdit";

interface Props {
  store: Store;
  row: Row;
}

/** A layer's arguments as they are, to be changed. */
export function Arguments({ store, row }: Props) {
  const told = useAnswer<Told>(store, { query: "arguments", path: row.path });
  if (told === null) return store.dead.value ? null : <p class="ke-dim">Asking {store.answers} …</p>;
  if (told instanceof Refusal) return <p dir="auto">{told.message}</p>;
  if (told.fixed !== null) return <p class="ke-dim">{told.fixed}</p>;
  return <Form store={store} path={row.path} told={told} />;
}

function Form({ store, path, told }: { store: Store; path: string; told: Told }) {
  const [typed, setTyped] = useState<Fields>({});
  const [mismatch, setMismatch] = useState<Mismatch>("error");

  const { params, left_out: leftOut } = told;
  const filled = fill(params, typed);
  const readable = Object.keys(filled.problems).length === 0;
  const changed = Object.keys(filled.config).length > 0;
  const edit = readable && changed && store.canEdit.value ? configure(path, filled.config, mismatch) : null;
  const { plan, refusal, checking, ready, refused, apply } = useEdit(store, edit, discard);

  function discard(): void {
    setTyped({});
    setMismatch("error");
  }

  return (
    <form
      class="ke-arguments"
      aria-label={`Arguments of ${path}`}
      noValidate
      onSubmit={(event) => event.preventDefault()}
      onKeyDown={(event) => {
        if (event.key === "Enter" && event.target instanceof HTMLInputElement) void apply();
      }}
    >
      <fieldset disabled={!store.canEdit.value}>
        {params.length === 0 && <p class="ke-dim">{told.class_name} takes no arguments.</p>}
        {params.length > 0 && (
          <ArgumentForm
            params={params}
            fields={{ ...present(params), ...typed }}
            filled={filled}
            onChange={(name, value) => setTyped((before) => ({ ...before, [name]: value }))}
          />
        )}
        {leftOut.length > 0 && (
          <p class="ke-dim">Too long for a field, to be changed in Python with ed.configure: {leftOut.join(", ")}</p>
        )}
      </fieldset>
      {changed && (plan?.mismatch === true || mismatch !== "error") && (
        <MismatchChoice label="Weights that no longer fit" value={mismatch} onChange={setMismatch} />
      )}
      {refused && <Alert refusal={refused} />}
      {edit && <PlanView plan={plan} refusal={refusal} checking={checking} missing={[]} />}
      {(Object.keys(typed).length > 0 || changed) && (
        <div class="ke-choices">
          <Button label={`Apply changes to ${path}`} title="Give the layer these arguments" primary disabled={!ready} onClick={() => void apply()}>
            Apply
          </Button>
          <Button label={`Discard changes to ${path}`} title="Back to the arguments that it has" onClick={discard}>
            Discard
          </Button>
        </div>
      )}
    </form>
  );
}

function configure(target: string, config: Extract<Edit, { edit: "configure" }>["config"], mismatch: Mismatch): Edit {
  return { edit: "configure", target, config, ...(mismatch === "error" ? {} : { on_mismatch: mismatch }) };
}
