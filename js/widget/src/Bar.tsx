import { useState } from "preact/hooks";
import { bytes, count, plural } from "../../shared/src/format";
import { Button } from "./Button";
import { CodePanel } from "./CodePanel";
import { HandBack } from "./HandBack";
import { SaveForm } from "./SaveForm";
import type { Store } from "./store";

export function Bar({ store }: { store: Store }) {
  const [panel, setPanel] = useState<"code" | "save" | null>(null);
  const info = store.info.value;
  const dead = store.dead.value;
  const toggle = (name: "code" | "save") => setPanel(panel === name ? null : name);

  return (
    <header class="ke-bar">
      <div class="ke-bar-row">
        <h2 class="ke-model-name" dir="auto" title={info ? `${info.name} (${info.class_name})` : undefined}>
          {info?.name}
        </h2>
        <Totals store={store} />
        <div class="ke-group">
          <Button
            label="Undo"
            icon="undo"
            title={info?.undo_label ? `Undo: ${info.undo_label}` : "Nothing to undo"}
            disabled={dead || !info?.can_undo}
            onClick={() => void store.step("undo")}
          />
          <Button
            label="Redo"
            icon="redo"
            title={info?.redo_label ? `Redo: ${info.redo_label}` : "Nothing to redo"}
            disabled={dead || !info?.can_redo}
            onClick={() => void store.step("redo")}
          />
        </div>
      </div>
      <div class="ke-bar-row">
        <input
          class="ke-input ke-filter"
          type="search"
          aria-label="Filter layers"
          placeholder="Filter: conv, Dropout, block?_*"
          spellcheck={false}
          dir="auto"
          value={store.filter.value}
          onInput={(event) => store.setFilter(event.currentTarget.value)}
        />
        <Bulk store={store} />
        <span class="ke-spacer" />
        <HandBack store={store} />
        <div class="ke-group">
          <Button
            label="Code"
            icon="code"
            title="The edits as Python code"
            disabled={dead}
            expanded={panel === "code"}
            onClick={() => toggle("code")}
          >
            Code
          </Button>
          <Button
            label="Save"
            icon="save"
            title="Save the edited model to a file"
            disabled={dead}
            expanded={panel === "save"}
            onClick={() => toggle("save")}
          >
            Save
          </Button>
        </div>
      </div>
      {!dead && panel === "code" && <CodePanel store={store} onClose={() => setPanel(null)} />}
      {!dead && panel === "save" && <SaveForm store={store} onClose={() => setPanel(null)} />}
    </header>
  );
}

function Totals({ store }: { store: Store }) {
  const info = store.info.value;
  return (
    <div class="ke-totals" role="status" aria-label="Model totals">
      {info && (
        <>
          <Total name="Parameters" value={count(info.params)} />
          <Total name="Trainable" value={count(info.trainable)} />
          <Total name="Frozen" value={count(info.frozen)} />
          <Total name="Memory" value={bytes(info.bytes)} />
          <Total name="Layers" value={count(info.layers)} />
        </>
      )}
    </div>
  );
}

// Not a description list: JupyterLab's styles for those would reach in here.
function Total({ name, value }: { name: string; value: string }) {
  return (
    <span class="ke-total">
      {name} <strong>{value}</strong>
    </span>
  );
}

function Bulk({ store }: { store: Store }) {
  const { rows, selected } = store.bulk.value;
  const what = plural(rows.length, selected ? "selected layer" : "layer");
  const nothing = store.dead.value || rows.length === 0;
  const which = selected ? what : `${what} that the list shows`;
  return (
    <div class="ke-group">
      <Button
        label="Freeze shown"
        icon="freeze"
        title={`Freeze ${which}`}
        disabled={nothing}
        onClick={() => void store.setTrainable(rows, false)}
      >
        Freeze shown
      </Button>
      <Button
        label="Unfreeze shown"
        icon="thaw"
        title={`Unfreeze ${which}`}
        disabled={nothing}
        onClick={() => void store.setTrainable(rows, true)}
      >
        Unfreeze shown
      </Button>
      {selected > 0 && (
        <Button label="Clear selection" icon="close" onClick={() => store.clearSelection()}>
          {count(selected)} selected
        </Button>
      )}
    </div>
  );
}
