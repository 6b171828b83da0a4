import type { ComponentChildren } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { hasWord, type Kind, matcher, toggleWord, untyped } from "../../shared/src/filter";
import { count } from "../../shared/src/format";
import { Button } from "./Button";
import { float } from "./float";
import { menuKeys } from "./menuKeys";
import type { Store } from "./store";

const KINDS: Record<Kind, string> = {
  trainable: "Trainable",
  frozen: "Frozen",
  changed: "Added or changed",
  shared: "Called several times",
  nested: "Inside a nested model",
  ablated: "Ablated",
};

/** The filter's text, and a menu of the words that it may have. */
export function FilterBox({ store }: { store: Store }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  return (
    <div ref={box} class="ke-group ke-filter-box">
      <input
        class="ke-input ke-filter"
        type="search"
        aria-label="Filter layers"
        placeholder="Name, block?_* or type:Dropout"
        spellcheck={false}
        dir="auto"
        value={store.filter.value}
        onInput={(event) => store.setFilter(event.currentTarget.value)}
        onKeyDown={(event) => {
          const rows = store.layersShown.value;
          const row = rows.find(({ path }) => store.selectedSet.value.has(path)) ?? rows[0];
          if (event.key !== "ArrowDown" || !row) return;
          event.preventDefault();
          store.select(row.path, "only");
          store.focusWanted.value = row.path;
        }}
      />
      <Button
        label="Filter by"
        icon="filter"
        title="Filter by type, flag or change"
        popup="menu"
        expanded={open}
        onClick={() => setOpen(!open)}
      />
      {open && <FilterMenu store={store} box={box.current} onClose={() => setOpen(false)} />}
    </div>
  );
}

function FilterMenu({ store, box, onClose }: { store: Store; box: HTMLElement | null; onClose: () => void }) {
  const menu = useRef<HTMLDivElement>(null);
  const rows = store.rows.value;
  const kinds = Object.entries(KINDS).filter(([kind]) => kind !== "ablated" || store.scores.value);
  const others = untyped(store.filter.value);
  // How many of a type there would be: of those that the rest of the filter lets through.
  const types = useMemo(() => {
    const fits = matcher(others);
    const found = new Map<string, number>();
    for (const row of rows) found.set(row.class_name, (found.get(row.class_name) ?? 0) + Number(fits(row)));
    return [...found].sort(([a], [b]) => a.localeCompare(b));
  }, [rows, others]);

  useLayoutEffect(() => {
    if (!menu.current || !box) return;
    const stop = float(menu.current, box);
    menu.current.querySelector("button")?.focus({ preventScroll: true });
    return stop;
  }, [box]);

  function close(): void {
    onClose();
    box?.querySelector("button")?.focus();
  }

  function item(word: string, text: string, rows?: number) {
    return (
      <button
        key={word}
        type="button"
        role="menuitemcheckbox"
        aria-checked={hasWord(store.filter.value, word)}
        tabIndex={-1}
        onClick={() => store.setFilter(toggleWord(store.filter.value, word))}
      >
        <span>{text}</span>
        {rows !== undefined && <span class="ke-dim">{count(rows)}</span>}
      </button>
    );
  }

  return (
    <div
      ref={menu}
      class="ke-popover ke-menu ke-filter-menu"
      role="menu"
      aria-label="Filter by"
      popover="manual"
      onKeyDown={(event) => menuKeys(event, close)}
      onFocusOut={(event) => {
        const to = event.relatedTarget;
        // A click on the menu's own button is that button's to answer.
        if (!(to instanceof HTMLButtonElement && box?.contains(to))) onClose();
      }}
    >
      <Group name="Only layers that are">{kinds.map(([kind, text]) => item(`is:${kind}`, text))}</Group>
      <Group name="Only layers of type">{types.map(([name, rows]) => item(`type:${name}`, name, rows))}</Group>
      <Group name="Also">
        <button
          type="button"
          role="menuitemcheckbox"
          aria-checked={store.showsRemoved.value}
          tabIndex={-1}
          onClick={() => (store.showsRemoved.value = !store.showsRemoved.value)}
        >
          <span>Layers that were removed</span>
        </button>
      </Group>
    </div>
  );
}

function Group({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="ke-menu-group" role="group" aria-label={name}>
      <span class="ke-menu-heading" aria-hidden="true">
        {name}
      </span>
      {children}
    </div>
  );
}
