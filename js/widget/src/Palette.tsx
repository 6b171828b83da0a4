import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { fill, type Fields, inherit, isRare } from "../../shared/src/form";
import { plural } from "../../shared/src/format";
import { searchPalette } from "../../shared/src/palette";
import type { Arguments, Mismatch, PaletteEntry, WeightsRule } from "../../shared/src/protocol";
import { ArgumentForm } from "./ArgumentForm";
import { Alert } from "./Alert";
import { Choice, MismatchChoice } from "./Choice";
import { Dialog } from "./Dialog";
import { PlanView } from "./PlanView";
import { paletteEdit, type PaletteTask, type Store } from "./store";
import { useEdit } from "./useEdit";
import { useId } from "./useId";

const PLACE = { "insert-before": "Before", "insert-after": "After", replace: "In place of" };

export function Palette({ store, task }: { store: Store; task: PaletteTask }) {
  const [search, setSearch] = useState("");
  const [chosen, setChosen] = useState<string | null>(null);
  const [typed, setTyped] = useState<Fields>({});
  const [old, setOld] = useState<Arguments | null>(null);
  const [weights, setWeights] = useState<WeightsRule>("match");
  const [mismatch, setMismatch] = useState<Mismatch>("error");
  const [onwards, goOn] = useState(0);
  const main = useRef<HTMLDivElement>(null);
  const close = () => (store.dialog.value = null);

  // From the list to what is to be filled in, else to Apply: nothing is applied that was not seen.
  useLayoutEffect(() => {
    if (onwards === 0) return;
    const field = main.current?.querySelector<HTMLElement>("input, select");
    (field ?? main.current?.closest("form")?.querySelector<HTMLElement>("[type=submit]"))?.focus();
  }, [onwards]);

  useEffect(() => void store.loadPalette(), [store]);
  useEffect(() => {
    if (task.kind !== "replace") return;
    // Without them the form starts with the defaults of the new class.
    store.ask<Arguments>({ query: "arguments", path: task.path }).then(setOld, () => undefined);
  }, [store]);

  const entries = store.paletteEntries.value;
  const found = searchPalette(entries ?? [], search);
  const entry = entries?.find((one) => one.class_name === chosen) ?? null;
  const taken = inherit(entry?.params ?? [], old?.params ?? []);
  const fields = { ...taken, ...typed };
  const known = (entry?.params ?? []).filter(({ name }) => name in taken && !(name in typed)).filter((param) => !isRare(param));
  const filled = fill(entry?.params ?? [], fields);
  const complete = entry !== null && filled.missing.length === 0 && Object.keys(filled.problems).length === 0;
  const edit = complete
    ? paletteEdit(task, { class_name: entry.class_name, config: filled.config }, weights, mismatch)
    : null;
  const { plan, refusal, checking, ready, refused, apply } = useEdit(store, edit, close);

  function choose(one: PaletteEntry): void {
    setChosen(one.class_name);
    setTyped({});
    setMismatch("error");
  }

  const title = task.kind === "replace" ? "Replace layer" : "Insert layer";
  return (
    <Dialog
      store={store}
      title={title}
      about={`${PLACE[task.kind]} ${task.paths ? `each of ${plural(task.paths.length, "layer")}` : task.path}`}
      path={task.path}
      ready={ready}
      onApply={() => void apply()}
    >
        <Types entries={found} loading={entries === null} chosen={chosen} search={search} onSearch={setSearch} onChoose={choose} onDone={() => goOn(onwards + 1)} />
        <div ref={main} class="ke-dialog-main">
          {entry === null ? (
            <p class="ke-dim">Choose a layer type on the left.</p>
          ) : (
            <>
              <div>
                <strong>{entry.class_name}</strong>
                {entry.doc && <p class="ke-dim ke-doc">{entry.doc}</p>}
              </div>
              <ArgumentForm
                key={entry.class_name}
                params={entry.params}
                fields={fields}
                filled={filled}
                onChange={(name, value) => setTyped((before) => ({ ...before, [name]: value }))}
              />
              {known.length > 0 && (
                <p class="ke-dim">
                  Taken over from {old?.class_name}: {known.map((param) => param.name).join(", ")}
                </p>
              )}
              {task.kind === "replace" && (
                <Choice
                  label="Weights of the old layer"
                  value={weights}
                  options={{ match: "keep those of equal shape", slice: "also keep what overlaps", none: "keep nothing" }}
                  onChange={setWeights}
                />
              )}
              {(plan?.mismatch || mismatch !== "error") && (
                <MismatchChoice label="Weights of other layers that no longer fit" value={mismatch} onChange={setMismatch} />
              )}
              {refused && <Alert refusal={refused} />}
              <PlanView plan={plan} refusal={refusal} checking={checking} missing={filled.missing} />
            </>
          )}
        </div>
    </Dialog>
  );
}

interface TypesProps {
  entries: readonly PaletteEntry[];
  loading: boolean;
  chosen: string | null;
  search: string;
  onSearch: (text: string) => void;
  onChoose: (entry: PaletteEntry) => void;
  /** A type is chosen for good: by a click, or by Enter. */
  onDone: () => void;
}

/** A search box that keeps the focus while the arrow keys walk the list under it. */
function Types({ entries, loading, chosen, search, onSearch, onChoose, onDone }: TypesProps) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const at = entries.findIndex((entry) => entry.class_name === chosen);

  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [chosen]);

  function onKeyDown(event: KeyboardEvent): void {
    const next = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Enter: Math.max(0, at) }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const entry = entries[Math.min(next, entries.length - 1)];
    if (entry && (event.key !== "Enter" || at < 0)) onChoose(entry);
    if (entry && event.key === "Enter") onDone();
  }

  return (
    <div class="ke-types">
      <input
        class="ke-input"
        type="search"
        aria-label="Find a layer type"
        placeholder="Find a layer type"
        aria-controls={id}
        aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
        autofocus
        spellcheck={false}
        autocomplete="off"
        value={search}
        onInput={(event) => onSearch(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div ref={list} class="ke-options" role="listbox" id={id} aria-label="Layer types">
        {entries.map((entry, i) => (
          <div
            key={entry.class_name}
            id={`${id}-${i}`}
            class="ke-option"
            role="option"
            aria-label={entry.class_name}
            aria-selected={entry.class_name === chosen}
            title={entry.doc}
            onClick={() => {
              onChoose(entry);
              onDone();
            }}
          >
            <span class={`ke-type ke-family-${entry.family}`}>
              <span>{entry.class_name}</span>
            </span>
            <span class="ke-dim">{entry.family}</span>
          </div>
        ))}
      </div>
      {entries.length === 0 && <p class="ke-dim">{loading ? "Asking the kernel …" : "No layer type of that name."}</p>}
    </div>
  );
}
