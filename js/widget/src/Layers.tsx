import { effect, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Row } from "../../shared/src/protocol";
import { identity, parentPath } from "../../shared/src/rows";
import { pointedRow } from "./Lanes";
import { LayerRow } from "./LayerRow";
import { fromStart, onwards } from "./onwards";
import { ROW_HEIGHT } from "./place";
import { RowMenu } from "./RowMenu";
import { RowNotePanel } from "./RowNotePanel";
import type { Store } from "./store";

/** Rows drawn beyond each edge of what is in view, and the step in which that window moves. */
const OVERSCAN = 16;
const STEP = 8;
/** How long the list has to rest before histograms are fetched for what it shows. */
const REST_MS = 80;
/** Two steps of the window within this time are fast scrolling, which ends when there is none for as long. */
const FAST_MS = 100;

export function Layers({ store }: { store: Store }) {
  const rows = store.shown.value;
  const places = store.places.value;
  const perPage = Math.ceil(places.window / ROW_HEIGHT);
  const scroller = useRef<HTMLDivElement>(null);
  const scrollTop = useSignal(0);
  const first = useSignal(0);
  const pointer = useRef("");
  const stepped = useRef<{ at: number; timer?: ReturnType<typeof setTimeout> }>({ at: -Infinity });

  const start = Math.max(0, Math.min(first.value, rows.length - perPage) - OVERSCAN);
  const end = Math.min(rows.length, first.value + STEP + perPage + OVERSCAN);

  // The row that the keyboard is on. If it went away, the one that took its place.
  const lastIndex = useRef(0);
  const lastRows = useRef(rows);
  const wanted = rows.findIndex((row) => row.path === store.active.value);
  const activeIndex = wanted >= 0 ? wanted : layerAt(successor(), 1);
  const active = rows[activeIndex];

  useLayoutEffect(() => {
    lastIndex.current = activeIndex;
    lastRows.current = rows;
    if (active && store.active.value !== active.path) store.active.value = active.path;
  });

  const focusWanted = store.focusWanted.value;
  useLayoutEffect(() => {
    if (focusWanted === null) return;
    store.focusWanted.value = null;
    const index = rows.findIndex((row) => row.path === focusWanted);
    if (index < 0) return goTo(activeIndex); // One that took its place is selected as it was.
    store.active.value = focusWanted;
    reveal(index);
    // After the render that the new active row asks for.
    queueMicrotask(focusRow);
  }, [focusWanted]);

  // A filter moves all rows: what is selected stays in sight.
  const filter = store.filter.value;
  const filtered = useRef(filter);
  useLayoutEffect(() => {
    if (filtered.current === filter) return;
    filtered.current = filter;
    const index = rows.findIndex((row) => store.selectedSet.peek().has(row.path));
    reveal(Math.max(0, index));
  }, [filter]);

  // Outside of the render, which is not to run again for each pixel scrolled.
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = effect(() => {
      const top = store.places.value.at(scrollTop.value);
      const inView = store.shown.value.slice(top, top + Math.ceil(store.places.value.window / ROW_HEIGHT) + 1).filter((row) => row.weights > 0);
      clearTimeout(timer);
      timer = setTimeout(() => store.view(inView.map((row) => row.path)), REST_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [store, scrollTop]);

  // Where the columns go is a matter of style, and so is what steps back: no row is drawn anew for it.
  useEffect(() => {
    const box = scroller.current;
    if (!box) return;
    const observer = new ResizeObserver(() => store.lanes.measure(box.clientWidth));
    observer.observe(box);
    const stop = effect(() => void box.classList.toggle("ke-looking", store.lanes.looked.value >= 0));
    return () => {
      observer.disconnect();
      stop();
    };
  }, [store]);

  /** The place of the new row that is nearest to where the active one stood, else of the first that stood after it. */
  function successor(): number {
    const [last, from] = [lastRows.current, lastIndex.current];
    const known = new Set(last.map(identity));
    const fresh = [...rows.keys()].filter((at) => rows[at]?.kind !== "ghost" && !known.has(identity(rows[at] as Row)));
    if (fresh.length > 0) return fresh.reduce((a, b) => (Math.abs(b - from) < Math.abs(a - from) ? b : a));
    const places = new Map(rows.map(({ path }, at) => [path, at]));
    const after = last.slice(from).find(({ path }) => places.has(path));
    return (after && places.get(after.path)) ?? Math.max(0, rows.length - 1);
  }

  /** The place of the next layer from a place on: what is gone takes no part. */
  function layerAt(index: number, by: 1 | -1): number {
    const isGhost = (at: number) => rows[at]?.kind === "ghost";
    let at = index;
    while (isGhost(at)) at += by;
    if (!rows[at]) for (at = index; isGhost(at); ) at -= by;
    return at;
  }

  function focusRow(): void {
    const row = scroller.current?.querySelector<HTMLElement>("[role=row][tabindex='0']");
    (row ?? scroller.current)?.focus({ preventScroll: true });
  }

  function point(event: MouseEvent): void {
    // A list that scrolls under a pointer at rest is no reason to light anything.
    const place = `${event.screenX} ${event.screenY}`;
    if (place !== pointer.current) store.lanes.point(pointedRow(store, event)?.path ?? null);
    pointer.current = place;
  }

  function reveal(index: number): void {
    const box = scroller.current;
    if (!box) return;
    const top = places.top(index);
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW_HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW_HEIGHT - box.clientHeight;
  }

  /** With Shift the selection follows, with Ctrl it stays what it is. */
  function goTo(index: number, keys?: KeyboardEvent): void {
    const to = Math.max(0, Math.min(index, rows.length - 1));
    const row = rows[layerAt(to, to < activeIndex ? -1 : 1)];
    if (!row) return;
    if (!keys?.ctrlKey) store.select(row.path, keys?.shiftKey ? "extend" : "only");
    store.focusWanted.value = row.path;
  }

  /** Keys follow the treegrid pattern: those along the text unfold and fold, and walk a row's own controls. */
  function onKeyDown(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (!active || target instanceof HTMLInputElement || target.closest(".ke-detail")) return;
    const onRow = target.getAttribute("role") === "row";
    if (!handleKey(event, active, target, onRow)) return;
    event.preventDefault();
  }

  function openMenu(path: string): void {
    if (store.part === "editor") store.openMenu(path);
  }

  /** The row's menu, where the pointer is; with Shift, and where something may be typed, the browser's own. */
  function onContextMenu(event: MouseEvent): void {
    const target = event.target as HTMLElement;
    const line = target.closest<HTMLElement>("[role=row]");
    const row = rows.find(({ path }) => path === line?.dataset["path"]);
    if (!line || !row || row.kind === "ghost" || store.part !== "editor") return;
    if (event.shiftKey || target.closest("input, .ke-detail")) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab's is of the cell.
    if (!store.selectedSet.value.has(row.path)) store.select(row.path, "only");
    store.openMenu(row.path, fromStart(line, event));
  }

  function handleKey(event: KeyboardEvent, row: Row, target: HTMLElement, onRow: boolean): boolean {
    store.lanes.point(null); // From here on the keyboard leads.
    if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      const to = store.lanes.next(activeIndex, event.key === "ArrowUp", event.shiftKey);
      if (to >= 0) goTo(to);
      return true;
    }
    const foldable = row.kind === "model" && !store.filter.value.trim();
    const unfolded = store.unfolded.value.has(row.path);
    switch (onwards(event)) {
      case 1:
        if (onRow && foldable && !unfolded) store.setUnfolded(row.path, true);
        else walkControls(target, 1);
        return true;
      case -1:
        if (!onRow) walkControls(target, -1);
        else if (foldable && unfolded) store.setUnfolded(row.path, false);
        else {
          const parent = rows.findIndex((other) => other.path === parentPath(rows, activeIndex));
          if (parent >= 0) goTo(parent);
        }
        return true;
    }
    switch (event.key) {
      case "ArrowDown":
        goTo(activeIndex + 1, event);
        return true;
      case "ArrowUp":
        goTo(activeIndex - 1, event);
        return true;
      case "PageDown":
        goTo(activeIndex + perPage - 1, event);
        return true;
      case "PageUp":
        goTo(activeIndex - perPage + 1, event);
        return true;
      case "Home":
        goTo(0, event);
        return true;
      case "End":
        goTo(rows.length - 1, event);
        return true;
      case "F10":
        if (event.shiftKey) openMenu(row.path);
        return event.shiftKey;
      case "Escape":
        if (store.note.value) {
          store.note.value = null;
          return true;
        }
        if (store.selected.value.length === 0) return false;
        store.clearSelection();
        return true;
    }
    if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
      store.selectAll();
      return true;
    }
    if (!onRow) return false; // Space and Enter are the focused button's own.
    switch (event.key) {
      case " ":
        if (event.ctrlKey) store.select(row.path, "toggle");
        else store.toggleSelected(row);
        return true;
      case "Enter":
        store.toggleDetail(row.path);
        return true;
      case "ContextMenu":
        openMenu(row.path);
        return true;
      case "Delete": {
        const several = store.removable.value;
        if (several.includes(row.path)) store.remove(several);
        else if (row.kind !== "input") store.remove([row.path]);
        return true;
      }
      case "F2":
        if (row.kind !== "input" && store.canEdit.value) store.renaming.value = row.path;
        return true;
    }
    return false;
  }

  /** Steps from the row to its first control, from one to the next, and from the first back to the row. */
  function walkControls(from: HTMLElement, by: 1 | -1): void {
    const row = from.closest<HTMLElement>("[role=row]");
    if (!row) return;
    const stops = [row, ...row.querySelectorAll<HTMLElement>("button:not(.ke-detail *)")];
    stops[stops.indexOf(from) + by]?.focus();
  }

  function onScroll(event: Event): void {
    store.lanes.point(null); // The row that the pointer came upon is no longer under it.
    const top = (event.currentTarget as HTMLElement).scrollTop;
    scrollTop.value = top;
    const step = Math.floor(places.at(top) / STEP) * STEP;
    if (step === first.value) return;
    const { at, timer } = stepped.current;
    clearTimeout(timer);
    stepped.current = { at: event.timeStamp, timer: setTimeout(() => (store.rushing.value = false), FAST_MS) };
    store.rushing.value = event.timeStamp - at < FAST_MS;
    first.value = step;
  }

  const drawn = rows.slice(start, end).map((row, i) => ({ row, index: start + i }));
  // Wherever the list is scrolled to, the active row stays in the page, as it may hold the focus, and
  // the open one, as something may have been typed in it.
  for (const index of new Set([activeIndex, places.opened])) {
    const row = rows[index];
    if (row && (index < start || index >= end)) drawn.push({ row, index });
  }

  const all = store.rows.value;
  const indexOf = (path: string) => rows.findIndex((row) => row.path === path);
  const { menu, note } = store;
  const scores = store.scores.value;
  const classes = `${places.height > places.window ? "ke-scrolls " : ""}${scores ? "ke-scored" : ""}`;

  return (
    <div class={classes} style={{ "--ke-lanes": `${store.lanes.size.value.width}px` }}>
      <div class="ke-head" aria-hidden="true">
        <span />
        <span />
        <span>Layer</span>
        <span>Type</span>
        <span>Output shape</span>
        <span class="ke-number">Parameters</span>
        {store.training.running.value ? (
          <span title="Beside each histogram, how strong the last updates of the weights were, from one in 100,000 to one in 10">
            Weights, <span class="ke-update-head">updates</span>
          </span>
        ) : (
          <span>Weights</span>
        )}
        {scores && (
          <span class="ke-score-head" title={scores.label}>
            {scores.label}
          </span>
        )}
        <span />
      </div>
      <div class="ke-window" style={{ minHeight: places.window }}>
        <div
          ref={scroller}
          class="ke-grid"
          role="treegrid"
          aria-label="Layers"
          tabIndex={-1}
          aria-rowcount={rows.length}
          aria-multiselectable={true}
          style={{ maxHeight: places.opened < 0 ? places.limit : places.window }}
          onScroll={onScroll}
          onKeyDown={onKeyDown}
          onContextMenu={onContextMenu}
          onMouseMove={point}
          onMouseLeave={() => {
            pointer.current = "";
            store.lanes.point(null);
          }}
          onFocusOut={() => (store.lanes.focused.value = false)}
          onFocusIn={(event) => {
            store.lanes.focused.value = true;
            const path = (event.target as HTMLElement).closest<HTMLElement>("[role=row]")?.dataset["path"];
            if (path !== undefined) store.active.value = path;
          }}
        >
          <div class="ke-sizer" role="rowgroup" style={{ height: places.height }}>
            {drawn.map(({ row, index }) => (
              <LayerRow key={identity(row)} store={store} row={row} index={index} active={row === active} />
            ))}
          </div>
        </div>
        {rows.length === 0 && (
          <p class="ke-empty">{all.length > 0 ? "No layer matches the filter: all of its words have to fit." : "No layers."}</p>
        )}
        {menu.value !== null && (
          <RowMenu store={store} path={menu.value} index={indexOf(menu.value)} scrollTop={scrollTop} />
        )}
        {note.value && (
          <RowNotePanel store={store} note={note.value} index={indexOf(note.value.path)} scrollTop={scrollTop} />
        )}
      </div>
    </div>
  );
}
