import type { ReadonlySignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { copyText } from "./copyText";
import type { Store } from "./store";

interface Props {
  store: Store;
  path: string;
  index: number;
  scrollTop: ReadonlySignal<number>;
}

interface Item {
  name: string;
  run: (event: MouseEvent) => void;
}

export function RowMenu({ store, path, index, scrollTop }: Props) {
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => menu.current?.querySelector("button")?.focus({ preventScroll: true }), [path]);
  const row = store.rows.value.find((other) => other.path === path);
  if (!row) return null;

  const items: Item[] = [];
  if (!store.dead.value && row.kind !== "input") {
    items.push({
      name: "Freeze up to here",
      run: () => void store.edit({ edit: "freeze_up_to", target: path }, path),
    });
  }
  if (store.canEdit.value && row.kind !== "input") {
    items.push({
      name: "Trim: make this the output",
      run: () => void store.edit({ edit: "trim", target: path }, path),
    });
  }
  items.push({
    name: "Copy path",
    run: (event) => {
      void copyText(path, event.currentTarget as HTMLElement).then(() => {
        store.report.value = [`Copied ${path}`];
      });
    },
  });

  function close(): void {
    store.menu.value = null;
    store.focusWanted.value = path;
  }

  function onKeyDown(event: KeyboardEvent): void {
    const buttons = [...(menu.current?.querySelectorAll("button") ?? [])];
    const at = buttons.indexOf(event.target as HTMLButtonElement);
    const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (move !== undefined) buttons.at(move % buttons.length)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
  }

  return (
    <div
      ref={menu}
      class="ke-popover ke-under-row ke-menu"
      role="menu"
      aria-label={`Actions for ${path}`}
      style={store.places.value.under(index, scrollTop.value)}
      onKeyDown={onKeyDown}
      onFocusOut={(event) => {
        if (!menu.current?.contains(event.relatedTarget as Node | null)) store.menu.value = null;
      }}
    >
      {items.map(({ name, run }) => (
        <button
          key={name}
          type="button"
          role="menuitem"
          tabIndex={-1}
          onClick={(event) => {
            run(event);
            close();
          }}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
