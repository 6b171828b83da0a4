import { useRef, useState } from "preact/hooks";
import { bytes, count, plural } from "../../shared/src/format";
import { Button } from "./Button";
import { ChangesPanel, type ChangesTab } from "./ChangesPanel";
import { FilterBox } from "./FilterBox";
import { HandBack } from "./HandBack";
import { SaveForm } from "./SaveForm";
import { foretelling } from "./pointing";
import { removal, type Store } from "./store";

export function Bar({ store }: { store: Store }) {
  const [panel, setPanel] = useState<ChangesTab | "save" | null>(null);
  const bar = useRef<HTMLElement>(null);
  const { saveFile } = store.host;
  const info = store.info.value;
  const dead = store.dead.value;
  const changes = panel === "changes" || panel === "diff";
  const toggle = (name: "changes" | "code" | "save", open: boolean) => setPanel(open ? null : name);

  /** The focus goes back to the button that opened the panel. */
  function close(): void {
    bar.current?.querySelector<HTMLElement>("[aria-expanded=true]:not([aria-haspopup])")?.focus();
    setPanel(null);
  }

  return (
    <header ref={bar} class="ke-bar">
      <div class="ke-bar-row">
        <h2 class="ke-model-name" dir="auto" title={info ? `${info.name} (${info.class_name})` : undefined}>
          {info?.name}
        </h2>
        {/* The message that says so may be below the window. */}
        {dead && (
          <span class="ke-mark ke-mark-changed" aria-hidden="true">
            not live
          </span>
        )}
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
        <div class="ke-group">
          <Button
            label="Changes"
            icon="history"
            title="What was done, and what differs from the source"
            disabled={dead}
            expanded={changes}
            onClick={() => toggle("changes", changes)}
          >
            Changes
          </Button>
          <Button
            label="Code"
            icon="code"
            title="The edits as Python code"
            disabled={dead}
            expanded={panel === "code"}
            onClick={() => toggle("code", panel === "code")}
          >
            Code
          </Button>
          <Button
            label="Save"
            icon="save"
            title={saveFile ? "Save the edited model to its file" : "Save the edited model to a file"}
            disabled={dead}
            {...(!saveFile && { expanded: panel === "save" })}
            onClick={saveFile ?? (() => toggle("save", panel === "save"))}
          >
            Save
          </Button>
        </div>
      </div>
      <div class="ke-bar-row">
        <FilterBox store={store} />
        <Flags store={store} />
        <Selection store={store} />
        <span class="ke-spacer" />
        {!saveFile && <HandBack store={store} />}
      </div>
      {!dead && panel !== null && panel !== "save" && (
        <ChangesPanel store={store} tab={panel} onTab={setPanel} onClose={close} />
      )}
      {!dead && panel === "save" && <SaveForm store={store} onClose={close} />}
    </header>
  );
}

export function Totals({ store }: { store: Store }) {
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

/** Freezes and unfreezes what the list shows, or what of it is selected. */
export function Flags({ store }: { store: Store }) {
  const { rows, targets, selected } = store.bulk.value;
  const what = plural(rows.length, selected ? "selected layer" : "layer");
  const nothing = store.dead.value || rows.length === 0;
  const shown = selected ? "" : " shown"; // The names hold what the eye reads.
  const which = selected ? what : `${what} that the list shows`;
  return (
    <div class="ke-group ke-flags">
      <Button
        label="Freeze shown"
        icon="freeze"
        title={`Freeze ${which}`}
        disabled={nothing}
        foretelling={foretelling(store, () => ({ edit: "freeze", targets }))}
        onClick={() => void store.setTrainable(rows, false, targets)}
      >
        Freeze{shown}
      </Button>
      <Button
        label="Unfreeze shown"
        icon="thaw"
        title={`Unfreeze ${which}`}
        disabled={nothing}
        foretelling={foretelling(store, () => ({ edit: "unfreeze", targets }))}
        onClick={() => void store.setTrainable(rows, true, targets)}
      >
        Unfreeze{shown}
      </Button>
    </div>
  );
}

function Selection({ store }: { store: Store }) {
  const chosen = store.chosen.value.map((row) => row.path);
  const removable = store.removable.value;
  const editable = store.canEdit.value;
  return (
    <div class="ke-group" role="group" aria-label="Selection">
      <span class="ke-selected">{count(chosen.length)} selected</span>
      <Button
        label="Insert after each"
        icon="insertAfter"
        title="Insert a layer after each selected layer"
        disabled={!editable || chosen.length === 0}
        onClick={() => {
          const [path, ...more] = chosen;
          if (path === undefined) return;
          store.dialog.value = { kind: "insert-after", path, ...(more.length > 0 && { paths: chosen }) };
        }}
      />
      <Button
        label="Remove selected"
        icon="remove"
        title="Remove the selected layers"
        disabled={!editable || removable.length === 0}
        foretelling={foretelling(store, () => removal(removable))}
        onClick={() => store.remove(removable)}
      />
      <Button
        label="Clear selection"
        icon="close"
        disabled={chosen.length === 0}
        onClick={() => store.clearSelection()}
      />
    </div>
  );
}
