import type { TranslationBundle } from "@jupyterlab/translation";
import { listed } from "../../shared/src/format";
import { Alert } from "../../widget/src/Alert";
import { Totals } from "../../widget/src/Bar";
import { Button } from "../../widget/src/Button";
import { Refusal } from "../../widget/src/client";
import { FilterBox } from "../../widget/src/FilterBox";
import { Layers } from "../../widget/src/Layers";
import { Messages } from "../../widget/src/Messages";
import { Root } from "../../widget/src/Root";
import type { Store } from "../../widget/src/store";
import type { FileFacts } from "./files";
import type { ModelDocument } from "./modelDocument";

/** How many names of layers or classes are listed. */
const LISTED = 6;

/** As Keras writes it; the seconds are left out. */
const KERAS_TIME = /^(\d{4}-\d\d-\d\d)@(\d\d:\d\d):\d\d$/;

interface Props {
  store: Store;
  document: ModelDocument;
  trans: TranslationBundle;
  facts: FileFacts;
  onReload: () => void;
}

/** A model file: what the editor shows, but for what would change it. */
export function FileView({ store, document, trans, facts, onReload }: Props) {
  const info = store.info.value;
  const busy = document.busy.value;
  return (
    <Root store={store} label={trans.__("Keras model file")}>
      <header class="ke-bar">
        <div class="ke-bar-row">
          <h2 class="ke-model-name" dir="auto" title={info ? `${info.name} (${info.class_name})` : undefined}>
            {info?.name}
          </h2>
          <Totals store={store} />
        </div>
        <div class="ke-bar-row">
          <FilterBox store={store} />
          <span class="ke-dim ke-file-facts" title={describe(facts, trans)}>
            {describe(facts, trans)}
          </span>
          {busy !== null && (
            <span class="ke-waiting" role="status">
              {busy}
            </span>
          )}
          <Button
            label={trans.__("Edit")}
            icon="rename"
            title={trans.__("Start a kernel, and edit the model there")}
            disabled={busy !== null}
            onClick={() => void document.edit()}
          >
            {trans.__("Edit")}
          </Button>
          <Button label={trans.__("Reload file")} title={trans.__("Read the file again")} onClick={onReload}>
            {trans.__("Reload")}
          </Button>
        </div>
      </header>
      <EditProblem document={document} trans={trans} facts={facts} />
      {notices(facts, document.writable.value, trans).map((notice) => (
        <p key={notice} class="ke-notice" dir="auto">
          {notice}
        </p>
      ))}
      <Layers store={store} />
      <Messages store={store} />
    </Root>
  );
}

/** Why it could not be edited, and the way on. */
function EditProblem({ document, trans, facts }: Pick<Props, "document" | "trans" | "facts">) {
  const problem = document.problem.value;
  if (!problem) return null;
  const own = !problem.another && facts.custom.length > 0;
  const hint = own
    ? trans.__("A model with classes of its own can be edited in a notebook that defines them: kerasedit.Editor(path, custom_objects={…}).")
    : "";
  return (
    <Alert refusal={new Refusal({ type: "", message: problem.text, hint })}>
      {problem.another && (
        <Button label={trans.__("Choose another kernel")} onClick={() => void document.editWithAnother()}>
          {trans.__("Choose another kernel …")}
        </Button>
      )}
      <Button label={trans.__("Dismiss message")} onClick={() => (document.problem.value = null)}>
        {trans.__("Dismiss")}
      </Button>
    </Alert>
  );
}

/** `.keras, Keras 3.15.1, saved 2026-11-21 23:50, compiled with Adam, mse` */
export function describe(facts: FileFacts, trans: TranslationBundle): string {
  const { optimizer, loss } = facts;
  const compiled = [optimizer, loss].filter((name) => name !== null).join(", ");
  return [
    facts.format,
    facts.keras_version && `Keras ${facts.keras_version}`,
    facts.date_saved && trans.__("saved %1", facts.date_saved.replace(KERAS_TIME, "$1 $2")),
    !facts.compiled ? trans.__("not compiled") : compiled ? trans.__("compiled with %1", compiled) : trans.__("compiled"),
  ]
    .filter(Boolean)
    .join(", ");
}

/** What a person should know before the model is loaded. */
export function notices({ unsafe, custom, notes }: FileFacts, writable: boolean, trans: TranslationBundle): string[] {
  const found = [...notes];
  if (!writable) found.push(trans.__("This file may not be written. Edited, the model can be saved as another."));
  if (custom.length > 0) found.push(trans.__("Classes of its own, to be registered before it is loaded: %1.", listed(custom, LISTED)));
  if (unsafe.length > 0) {
    found.push(
      trans.__(
        "Loading this model runs code that is in the file, so only where you trust it. Layers that hold code: %1. Nothing was run to show it here.",
        listed(unsafe, LISTED),
      ),
    );
  }
  return found;
}
