import type { Signal } from "@preact/signals";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { bytes, count, figure } from "../../shared/src/format";
import { Button } from "../../widget/src/Button";
import type { ActiveKernel } from "./activeKernel";
import { inWords } from "./ask";
import { viewOptions } from "./settings";
import type { Known, KernelModels, ModelFacts, ModelRow, Tensor } from "./kernelModels";

/** How many kinds of layers are listed of a model. */
const LISTED = 6;

/** What the panel shows, and what its commands are about. */
export interface Shown {
  kernels: ActiveKernel;
  /** The variable that the keyboard is on, and the one whose model is told of at length. */
  active: Signal<string | null>;
  opened: Signal<string | null>;
}

interface Props {
  shown: Shown;
  /** Edits the model of the active variable. */
  onEdit: () => void;
  trans: TranslationBundle;
}

/** The Keras models of the kernel that was used last. */
export function ModelsView({ shown, onEdit, trans }: Props) {
  const { widget, models } = shown.kernels;
  const source = widget.value;
  const kernel = models.value;
  const known = kernel?.known.value;
  return (
    <section class="ke-root ke-models" aria-label={trans.__("Keras models")} role="region">
      <header class="ke-models-head">
        <h2>{trans.__("Keras models")}</h2>
        <span class="ke-dim ke-models-source" dir="auto" title={source?.title.label}>
          {source?.title.label}
        </span>
        <span role="status" class="ke-models-busy" aria-label={trans.__("Kernel")}>
          {kernel?.busy.value && known?.is !== "nothing" ? (
            <span title={trans.__("The kernel is busy. The list is as it was before.")}>{trans.__("busy")}</span>
          ) : (
            kernel &&
            !viewOptions.live.value && (
              <span title={trans.__("Live updates are off in the settings: Refresh reads the models again.")}>{trans.__("not live")}</span>
            )
          )}
        </span>
        {kernel && <Button label={trans.__("Refresh models")} icon="refresh" onClick={() => kernel.refresh()} />}
      </header>
      {kernel && known?.is === "models" && known.models.length > 0 ? (
        <List shown={shown} kernel={kernel} models={known.models} more={known.more} onEdit={onEdit} trans={trans} />
      ) : (
        <Empty kernel={kernel} known={known} begun={source !== null} trans={trans} />
      )}
    </section>
  );
}

interface EmptyProps {
  kernel: KernelModels | null;
  known: Known | undefined;
  /** Whether there is a notebook or a console. */
  begun: boolean;
  trans: TranslationBundle;
}

/** Why there is nothing to list, and what would change that. */
function Empty({ kernel, known, begun, trans }: EmptyProps) {
  const example = (code: string) => <pre class="ke-models-code">{code}</pre>;
  const told = (): ComponentChildren => {
    if (!kernel && begun) return <p>{trans.__("No kernel runs here yet. Choose one to see its models.")}</p>;
    if (!kernel || !known) return <p>{trans.__("Open a notebook or a console. The Keras models among its variables are listed here.")}</p>;
    if (kernel.dead.value) return <p>{trans.__("The kernel has ended. Start it again to see its models.")}</p>;
    switch (known.is) {
      case "nothing":
        return <p>{kernel.busy.value ? trans.__("The kernel is busy. Its models are listed when it is free.") : trans.__("Looking …")}</p>;
      case "another language":
        return <p>{trans.__("This kernel runs %1. Keras models are found in Python kernels.", known.language)}</p>;
      case "no kerasedit":
        return (
          <>
            <p>{trans.__("kerasedit is not installed for this kernel. Install it in a cell:")}</p>
            {example("%pip install kerasedit")}
          </>
        );
      case "problem":
        return (
          <p role="alert" dir="auto">
            {trans.__("The kernel could not list its models: %1", known.message)}
          </p>
        );
      case "no Keras":
        return (
          <>
            <p>{trans.__("No Keras model yet: Keras is not imported. For instance:")}</p>
            {example('import keras\nmodel = keras.models.load_model("model.keras")')}
          </>
        );
      case "models":
        return (
          <>
            <p>{trans.__("No variable holds a Keras model yet. For instance:")}</p>
            {example('model = keras.models.load_model("model.keras")')}
          </>
        );
    }
  };
  return <div class="ke-models-empty">{told()}</div>;
}

interface ListProps extends Props {
  kernel: KernelModels;
  models: readonly ModelRow[];
  more: number;
}

function List({ shown, kernel, models, more, onEdit, trans }: ListProps) {
  const list = useRef<HTMLDivElement>(null);
  const { active, opened } = shown;
  const found = models.findIndex(({ variable }) => variable === active.value);
  const before = useRef(0);
  const at = found >= 0 ? found : Math.min(before.current, models.length - 1);
  before.current = at;

  // A row that goes while it has the focus leaves it to the one in its place.
  const focused = useRef(false);
  useLayoutEffect(() => {
    if (focused.current && !list.current?.contains(document.activeElement)) rows()[at]?.focus();
  }, [models]);

  function rows(): HTMLElement[] {
    return [...(list.current?.querySelectorAll<HTMLElement>("[role=row]") ?? [])];
  }

  function onKeyDown(event: KeyboardEvent): void {
    const row = (event.target as HTMLElement).closest<HTMLElement>("[role=row]");
    const variable = row?.dataset["variable"];
    if (!row || variable === undefined) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: models.length - 1 }[event.key];
    if (to !== undefined) rows()[Math.min(models.length - 1, Math.max(0, to))]?.focus();
    else if (event.key === "ArrowRight") opened.value = variable;
    else if (event.key === "ArrowLeft" && opened.value === variable) opened.value = null;
    else if (event.key === "F10" && event.shiftKey) openMenu(row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return (
    <>
      <div
        ref={list}
        class="ke-models-list"
        role="treegrid"
        aria-label={trans.__("Models")}
        onKeyDown={onKeyDown}
        onFocusIn={() => (focused.current = true)}
        onFocusOut={(event) => {
          // Nothing takes the focus of what is taken out of the page.
          if (event.relatedTarget !== null) focused.current = list.current?.contains(event.relatedTarget as Node) === true;
        }}
      >
        {models.map((model, number) => (
          <Row
            key={model.variable}
            model={model}
            kernel={kernel}
            stop={number === at}
            open={opened.value === model.variable}
            onActive={() => (active.value = model.variable)}
            onOpen={(open) => (opened.value = open ? model.variable : null)}
            onEdit={onEdit}
            trans={trans}
          />
        ))}
      </div>
      {more > 0 && <p class="ke-models-more ke-dim">{trans._n("and one more", "and %2 more", more, count(more))}</p>}
    </>
  );
}

interface RowProps {
  model: ModelRow;
  kernel: KernelModels;
  /** Whether the Tab key comes by here. */
  stop: boolean;
  open: boolean;
  onActive: () => void;
  onOpen: (open: boolean) => void;
  onEdit: () => void;
  trans: TranslationBundle;
}

function Row({ model, kernel, stop, open, onActive, onOpen, onEdit, trans }: RowProps) {
  const { variable } = model;
  return (
    <div
      role="row"
      class="ke-models-row"
      tabIndex={stop ? 0 : -1}
      aria-label={variable}
      aria-level={1}
      aria-expanded={open}
      data-variable={variable}
      onFocusIn={onActive}
      onContextMenu={onActive}
      onDblClick={onEdit}
    >
      <div role="gridcell" class="ke-models-line">
        <Button label={trans.__("Inspect %1", variable)} icon="fold" expanded={open} tabIndex={-1} onClick={() => onOpen(!open)} />
        <span class="ke-models-variable" dir="auto" title={variable}>
          {variable}
        </span>
        <Button
          label={trans.__("Edit %1 in a tab", variable)}
          icon="rename"
          tabIndex={-1}
          disabled={model.structure === "unbuilt"}
          onClick={() => {
            onActive();
            onEdit();
          }}
        />
        <Button
          label={trans.__("More actions for %1", variable)}
          icon="more"
          popup="menu"
          tabIndex={-1}
          onClick={(event) => openMenu(event.currentTarget as HTMLElement)}
        />
      </div>
      <div role="gridcell" class="ke-models-facts ke-dim" title={model.name}>
        <span dir="auto">{model.kind === "editor" ? trans.__("Editor of a %1", model.class_name) : model.class_name}</span>
        {model.params === null ? (
          <span>{trans.__("not built yet")}</span>
        ) : (
          <>
            <span>{trans._n("%2 parameter", "%2 parameters", model.params, count(model.params))}</span>
            <span>{share(model.params, model.trainable ?? 0, trans)}</span>
          </>
        )}
      </div>
      <Badges model={model} trans={trans} />
      {open && <Facts model={model} kernel={kernel} trans={trans} />}
    </div>
  );
}

/** JupyterLab's own menu for what a row holds, below a button or a row. */
function openMenu(element: HTMLElement): void {
  const { left, bottom } = element.getBoundingClientRect();
  element.dispatchEvent(new MouseEvent("contextmenu", { bubbles: true, cancelable: true, clientX: left, clientY: bottom }));
}

/** How much of the parameters train, in words. */
function share(params: number, trainable: number, trans: TranslationBundle): string {
  if (params === 0) return trans.__("no weights");
  if (trainable === 0) return trans.__("frozen");
  if (trainable === params) return trans.__("all trainable");
  const percent = Math.min(99, Math.max(1, Math.round((100 * trainable) / params)));
  return trans.__("%1 % trainable", percent);
}

function Badges({ model, trans }: { model: ModelRow; trans: TranslationBundle }) {
  const { compiled, copy, edits, handed, same_as: sameAs, unhanded } = model;
  const badges: [text: string, title: string][] = [];
  if (sameAs !== null) badges.push([trans.__("same as %1", sameAs), trans.__("Both variables hold one and the same model.")]);
  if (compiled) badges.push([trans.__("compiled"), trans.__("It has a loss and an optimizer: fit() can be called.")]);
  if (copy) badges.push([trans.__("edited"), trans.__("A copy that an editor made.")]);
  if (edits > unhanded) badges.push([trans._n("1 edit", "%2 edits", edits, count(edits)), trans.__("What was edited so far.")]);
  if (handed !== null) badges.push([trans.__("in %1", handed), trans.__("The variable that holds the edited copy.")]);
  if (unhanded > 0) {
    badges.push([
      trans._n("1 edit not handed back", "%2 edits not handed back", unhanded, count(unhanded)),
      trans.__("The edits are in an editor's copy, which no variable holds yet."),
    ]);
  }
  if (badges.length === 0) return null;
  return (
    <div role="gridcell" class="ke-models-badges">
      {badges.map(([text, title]) => (
        <span key={text} class="ke-models-badge" dir="auto" title={title}>
          {text}
        </span>
      ))}
    </div>
  );
}

/** A model at a glance, asked for when it is opened and whenever the list is a new one. */
function Facts({ model, kernel, trans }: { model: ModelRow; kernel: KernelModels; trans: TranslationBundle }) {
  const [facts, setFacts] = useState<ModelFacts | Error | null>(null);
  const busy = kernel.busy.value;
  // The question itself makes a kernel busy that takes long to answer.
  const asked = useRef<ModelRow | null>(null);
  useEffect(() => {
    if (busy || asked.current === model) return;
    asked.current = model;
    const take = (told: ModelFacts | Error) => asked.current === model && setFacts(told);
    kernel.inspect(model).then(take, take);
  }, [kernel, model, busy]);

  const lines: [what: string, told: ComponentChildren][] = [];
  if (facts !== null && !(facts instanceof Error)) {
    if (facts.inputs.length > 0) lines.push([trans.__("Inputs"), <Tensors tensors={facts.inputs} />]);
    if (facts.outputs.length > 0) lines.push([trans.__("Outputs"), <Tensors tensors={facts.outputs} />]);
    if (facts.layers.length > 0) lines.push([trans.__("Layers"), layersText(facts.layers, trans)]);
    if (facts.optimizer !== null) {
      const rate = facts.learning_rate;
      lines.push([trans.__("Optimizer"), rate === null ? facts.optimizer : trans.__("%1, learning rate %2", facts.optimizer, figure(rate))]);
    }
    if (facts.loss !== null) lines.push([trans.__("Loss"), facts.loss]);
    if (facts.dtype) lines.push([trans.__("Dtype"), facts.dtype]);
    if (facts.bytes !== null) lines.push([trans.__("Memory of weights"), bytes(facts.bytes)]);
  }
  return (
    <div role="gridcell" class="ke-models-details" aria-label={trans.__("Details of %1", model.variable)}>
      {facts === null && <p class="ke-dim">{busy ? trans.__("The kernel is busy.") : trans.__("Looking …")}</p>}
      {facts instanceof Error && <p dir="auto">{inWords(facts, kernel.kernel.name, trans)}</p>}
      {lines.length > 0 && (
        <dl>
          {lines.map(([what, told]) => (
            <div key={what}>
              <dt class="ke-dim">{what}</dt>
              <dd dir="auto">{told}</dd>
            </div>
          ))}
        </dl>
      )}
    </div>
  );
}

function Tensors({ tensors }: { tensors: readonly Tensor[] }) {
  return (
    <ul>
      {tensors.map(([name, shape, dtype]) => (
        <li key={name}>
          {name} <span class="ke-models-shape">{shape}</span> {dtype}
        </li>
      ))}
    </ul>
  );
}

/** `81 Conv2D, 3 Dense and 2 other kinds` */
function layersText(layers: ModelFacts["layers"], trans: TranslationBundle): string {
  const named = layers.slice(0, LISTED).map(([name, number]) => `${count(number)} ${name}`);
  const more = layers.slice(LISTED).reduce((sum, [, number]) => sum + number, 0);
  return named.join(", ") + (more > 0 ? `, ${trans._n("one other", "%2 others", more, count(more))}` : "");
}
