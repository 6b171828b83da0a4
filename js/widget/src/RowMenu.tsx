import type { ReadonlySignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Edit } from "../../shared/src/protocol";
import { copyText } from "./copyText";
import { menuKeys } from "./menuKeys";
import { foretelling } from "./pointing";
import { removal, type Store } from "./store";

interface Props {
  store: Store;
  path: string;
  index: number;
  scrollTop: ReadonlySignal<number>;
}

/** The most that a menu is wide, in pixels. */
const WIDTH = 250;

interface Item {
  name: string;
  title?: string;
  edit?: Edit;
  run?: (event: MouseEvent) => void;
}

export function RowMenu({ store, path, index, scrollTop }: Props) {
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => menu.current?.querySelector("button")?.focus({ preventScroll: true }), [path]);
  const x = store.menuAt.value;
  const row = store.rows.value.find((other) => other.path === path);
  if (!row) return null;

  const items: Item[] = [];
  if (!store.dead.value && row.kind !== "input") {
    const title = "Freezes this layer and all before it";
    items.push({ name: "Freeze up to here", title, edit: { edit: "freeze_up_to", target: path } });
  }
  if (store.canEdit.value && row.kind !== "input") {
    items.push({ name: "Trim: make this the output", edit: { edit: "trim", target: path } });
    // In a narrow column the buttons of a row are out of sight.
    items.push({ name: "Insert after …", run: () => (store.dialog.value = { kind: "insert-after", path }) });
    items.push({ name: "Replace …", run: () => (store.dialog.value = { kind: "replace", path }) });
    items.push({ name: "Remove", edit: removal([path]) });
  }
  if (store.canEdit.value && row.weights > 0) {
    items.push({
      name: "Prune channels …",
      title: "Takes out a share of the channels that this layer makes, and all that is tied to them",
      run: () => {
        const chosen = store.chosen.value.filter((other) => other.weights > 0).map((other) => other.path);
        const several = chosen.length > 1 && chosen.includes(path);
        store.dialog.value = { kind: "prune", path, ...(several && { paths: chosen }) };
      },
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

  return (
    <div
      ref={menu}
      class="ke-popover ke-under-row ke-menu ke-beside"
      role="menu"
      aria-label={`Actions for ${path}`}
      style={{
        ...store.places.value.under(index, scrollTop.value),
        ...(x !== null && { marginInlineStart: `min(${x}px, 100% - ${WIDTH}px)` }),
      }}
      onKeyDown={(event) => menuKeys(event, close)}
      onFocusOut={(event) => {
        if (!menu.current?.contains(event.relatedTarget as Node | null)) store.menu.value = null;
      }}
    >
      {items.map(({ name, title, edit, run }) => (
        <button
          key={name}
          type="button"
          role="menuitem"
          title={title}
          tabIndex={-1}
          {...(edit && foretelling(store, () => edit))}
          onClick={(event) => {
            if (edit) void store.edit(edit, path);
            run?.(event);
            close();
          }}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
