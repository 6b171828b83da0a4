import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { count } from "../../shared/src/format";
import { rowLabel } from "../../shared/src/ghosts";
import { describeLanes } from "../../shared/src/lanes";
import type { Mark, Row } from "../../shared/src/protocol";
import { hasFlag } from "../../shared/src/rows";
import { isPending } from "../../shared/src/training";
import { Button } from "./Button";
import { Detail } from "./Detail";
import { HistogramCell } from "./HistogramCell";
import { Icon } from "./Icon";
import { LaneMark, Lanes, pointedRow } from "./Lanes";
import { foretelling } from "./pointing";
import { ScoreCell } from "./ScoreCell";
import { type PaletteTask, removal, type Store } from "./store";

interface Props {
  store: Store;
  row: Row;
  index: number;
  active: boolean;
}

const MARKS: Record<Mark, string> = {
  shared: "Called more than once: all calls share these weights",
  quantized: "Quantized",
  op: "An operation of the graph, not a layer",
  output: "An output of the model",
};

const STATUS = {
  added: "Not in the source model",
  changed: "Differs from the source model",
  moved: "Stands elsewhere in the source model",
  removed: "Of the source model, and no longer in this one",
};

export function LayerRow({ store, row, index, active }: Props) {
  const filtering = store.filter.value.trim() !== "";
  const foldable = row.kind === "model" && !filtering;
  const unfolded = store.unfolded.value.has(row.path);
  const indent = filtering ? 0 : row.level - 1;
  // Only the active row's controls are stops of the Tab key.
  const tabIndex = active ? 0 : -1;
  const opened = store.opened.value === row.path;
  const selected = store.selectedSet.value.has(row.path);

  function onClick(event: MouseEvent): void {
    if (row.kind === "ghost") return;
    if ((event.target as HTMLElement).closest("button, input, .ke-detail")) return;
    const { path } = pointedRow(store, event) ?? row;
    const how = event.shiftKey ? "extend" : event.ctrlKey || event.metaKey ? "toggle" : "only";
    store.select(path, how);
    store.focusWanted.value = path;
  }

  return (
    <div
      class={`ke-row${row.status ? ` ke-${row.status}` : ""}`}
      role="row"
      aria-label={rowLabel(row)}
      aria-description={describeLanes(store.lanes.layout.value, store.shown.value, index)}
      aria-level={row.level}
      aria-expanded={foldable ? unfolded : undefined}
      aria-rowindex={index + 1}
      aria-selected={selected}
      data-path={row.path}
      tabIndex={tabIndex}
      style={{ top: store.places.value.top(index) }}
      onMouseDown={(event) => {
        if (event.shiftKey) event.preventDefault(); // It extends the selection of rows, not of text.
      }}
      onClick={onClick}
      onDblClick={(event) => {
        if (row.kind === "ghost") return;
        if (!(event.target as HTMLElement).closest("button, input, .ke-name, .ke-histogram, .ke-detail")) store.toggleDetail(row.path);
      }}
    >
      <span role="gridcell" class="ke-cell ke-cell-toggle">
        {store.acts ? <Toggle store={store} row={row} tabIndex={tabIndex} /> : <Flag row={row} />}
      </span>
      <Lanes store={store} row={row} index={index} />
      <span role="gridcell" class="ke-cell ke-cell-name" style={{ paddingInlineStart: indent * 16 }}>
        {foldable ? (
          <button
            type="button"
            class={`ke-caret${unfolded ? " ke-open" : ""}`}
            aria-label={`${unfolded ? "Fold" : "Unfold"} ${row.path}`}
            tabIndex={tabIndex}
            onClick={() => store.setUnfolded(row.path, !unfolded)}
          >
            <Icon name="fold" />
          </button>
        ) : (
          <span class="ke-caret" />
        )}
        {store.renaming.value === row.path ? (
          <NameField store={store} row={row} />
        ) : (
          <span
            class="ke-name"
            dir="auto"
            title={row.title || row.path}
            onDblClick={() => {
              if (!["input", "ghost"].includes(row.kind) && store.canEdit.value) store.renaming.value = row.path;
            }}
          >
            {filtering && row.kind !== "ghost" ? row.path : row.name}
          </span>
        )}
        <span class="ke-marks">
          {row.status && (
            <span class={`ke-mark ke-mark-${row.status}`} title={STATUS[row.status]}>
              {row.status}
            </span>
          )}
          {row.marks.map((mark) => (
            <span key={mark} class="ke-mark" title={MARKS[mark]}>
              {mark === "shared" ? `shared ×${row.calls}` : mark}
            </span>
          ))}
        </span>
        <LaneMark store={store} index={index} />
      </span>
      <span role="gridcell" class="ke-cell">
        <span class={`ke-type ke-family-${row.family}`} title={`${row.class_name} (${row.family})`}>
          <span>{row.class_name}</span>
        </span>
      </span>
      <span role="gridcell" class="ke-cell ke-shape" title={`Output ${row.shape}, ${row.dtype}`}>
        <bdi dir="ltr">{row.shape}</bdi>
      </span>
      <span role="gridcell" class="ke-cell ke-number" title={`${count(row.trainable_params)} of them trainable`}>
        {row.params > 0 ? count(row.params) : ""}
      </span>
      <span role="gridcell" class="ke-cell ke-cell-histogram">
        {row.weights > 0 && (
          <AtRest store={store} now={active}>
            {() => <HistogramCell store={store} path={row.path} />}
          </AtRest>
        )}
      </span>
      <ScoreCell store={store} row={row} />
      <span role="gridcell" class="ke-cell ke-actions ke-beside">
        <AtRest store={store} now={active}>
          {() => <Actions store={store} row={row} tabIndex={tabIndex} />}
        </AtRest>
      </span>
      {opened && <DetailCell store={store} row={row} />}
    </div>
  );
}

/** What a row that came by in fast scrolling gets when that is over: most of the work of drawing it. */
function AtRest({ store, now, children }: { store: Store; now: boolean; children: () => ComponentChildren }) {
  const rested = useRef(false);
  rested.current ||= now || !store.rushing.value;
  return rested.current ? children() : null;
}

/** The list is told how much room the details take, and moves the rows below. */
function DetailCell({ store, row }: { store: Store; row: Row }) {
  const cell = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const box = cell.current;
    if (!box) return;
    const measure = () => (store.openedExtra.value = box.offsetHeight);
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    measure();
    // Of a row that stands low on the page, too, all is to be seen.
    const frame = requestAnimationFrame(() => box.scrollIntoView({ block: "nearest" }));
    return () => {
      observer.disconnect();
      cancelAnimationFrame(frame);
    };
  }, [store]);
  return (
    <div ref={cell} role="gridcell" class="ke-detail" aria-label={`Details of ${row.path}`}>
      <Detail store={store} row={row} />
    </div>
  );
}

/** What the switch would tell, where there is nothing to be switched. */
function Flag({ row }: { row: Row }) {
  if (row.trainable !== false || row.weights === 0) return null;
  return (
    <span class="ke-flag" role="img" aria-label="Frozen" title="Frozen">
      <Icon name="freeze" />
    </span>
  );
}

/** Shows what was asked for; as long as the kernel or a training has not taken it in, as busy. */
function Toggle({ store, row, tabIndex }: { store: Store; row: Row; tabIndex: number }) {
  if (["op", "input", "ghost"].includes(row.kind)) return null;
  const asked = store.asked.value.get(row.path);
  const checked = asked?.value ?? row.trainable === true;
  const fixed = store.dead.value || !hasFlag(row);
  const pending = isPending(row.path, store.training.state.value?.pending ?? []);
  const title = !hasFlag(row) ? "Has no weights to train" : checked ? "Trainable: click to freeze" : "Frozen: click to unfreeze";
  return (
    <button
      type="button"
      role="switch"
      class={`ke-switch${row.weights === 0 ? " ke-quiet" : ""}`}
      aria-label={`Trainable ${row.path}`}
      aria-checked={checked}
      aria-busy={asked !== undefined || pending}
      aria-disabled={fixed}
      title={asked ? "Waiting for the kernel to confirm" : pending ? "Holds from the next batch on" : title}
      tabIndex={tabIndex}
      onClick={() => {
        if (!fixed) store.toggle(row);
      }}
    />
  );
}

function NameField({ store, row }: { store: Store; row: Row }) {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.select(), []);
  const [typed, setTyped] = useState<string | null>(null);
  const name = (typed ?? row.name).trim();
  const { foresight } = store;
  const foreseen = foresight.shown.value;
  // What is said of a name stays while another is typed.
  const refused = foreseen?.edit.edit === "rename" && foreseen.edit.name === name && foreseen.plan?.ok === false;
  return (
    <input
      ref={field}
      class="ke-input ke-name-field"
      aria-label={`New name of ${row.path}`}
      aria-invalid={refused}
      dir="auto"
      spellcheck={false}
      autocomplete="off"
      value={typed ?? row.name}
      onKeyDown={(event) => {
        if (event.key === "Enter" && !refused) void store.rename(row, name);
        if (event.key === "Escape") void store.rename(row, row.name);
      }}
      onInput={(event) => {
        const { value } = event.currentTarget;
        setTyped(value);
        if (value.trim() === "" || value.trim() === row.name) foresight.dismiss();
        else foresight.point(event.currentTarget, { edit: "rename", target: row.path, name: value.trim() });
      }}
      onBlur={() => {
        foresight.dismiss();
        // Closing the field takes the focus from it, too.
        if (store.renaming.value === row.path) void store.rename(row, name);
      }}
    />
  );
}

function Actions({ store, row, tabIndex }: { store: Store; row: Row; tabIndex: number }) {
  const { path } = row;
  if (row.kind === "ghost") return null;
  const open = (kind: PaletteTask["kind"]) => (store.dialog.value = { kind, path });
  const whole = store.part === "editor";
  const editable = whole && store.info.value?.editable === true;
  const inside = row.kind !== "input";
  const common = { tabIndex, disabled: store.dead.value };
  return (
    <>
      {editable && inside && (
        <Button {...common} label={`Insert before ${path}`} icon="insertBefore" onClick={() => open("insert-before")} />
      )}
      {editable && (
        <Button {...common} label={`Insert after ${path}`} icon="insertAfter" onClick={() => open("insert-after")} />
      )}
      {editable && inside && (
        <>
          <Button {...common} label={`Replace ${path}`} icon="replace" onClick={() => open("replace")} />
          <Button
            {...common}
            label={`Duplicate ${path}`}
            icon="copy"
            foretelling={foretelling(store, () => ({ edit: "duplicate", target: path }))}
            onClick={() => void store.edit({ edit: "duplicate", target: path }, path)}
          />
          <Button
            {...common}
            label={`Remove ${path}`}
            icon="remove"
            foretelling={foretelling(store, () => removal([path]))}
            onClick={(event) => {
              // The second click of two falls on the row that has moved up.
              if (event.detail < 2) store.remove([path]);
            }}
          />
          <Button {...common} label={`Rename ${path}`} icon="rename" onClick={() => (store.renaming.value = path)} />
        </>
      )}
      <Button
        tabIndex={tabIndex}
        label={`Details of ${path}`}
        icon="fold"
        expanded={store.opened.value === path}
        onClick={() => store.toggleDetail(path)}
      />
      {whole && (
        <Button
          tabIndex={tabIndex}
          label={`More actions for ${path}`}
          icon="more"
          popup="menu"
          expanded={store.menu.value === path}
          onClick={() => store.openMenu(path)}
        />
      )}
    </>
  );
}
