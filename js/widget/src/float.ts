const GAP = 4;
const EDGE = 8;

/**
 * Shows a box above everything, so that nothing of the notebook clips it: under what it belongs to,
 * or over it where there is no room below. Beside a column of buttons (`.ke-beside`) it leaves the
 * whole column free, which the pointer may be on its way along.
 *
 * @param onMove called when what it belongs to moves; by default the box goes with it
 * @returns ends that
 */
export function float(box: HTMLElement, anchor: HTMLElement, onMove?: () => void): () => void {
  if (typeof box.showPopover === "function" && !box.matches(":popover-open")) box.showPopover();
  const move = onMove ?? (() => place(box, anchor));
  place(box, anchor);
  const page = new AbortController();
  const moved = (event: Event) => {
    if (!box.contains(event.target as Node)) move();
  };
  // What scrolls inside a shadow tree is not heard of outside it.
  for (const root of [window, anchor.getRootNode()]) {
    root.addEventListener("scroll", moved, { capture: true, signal: page.signal });
  }
  return () => page.abort();
}

function place(box: HTMLElement, anchor: HTMLElement): void {
  box.style.left = box.style.top = "0";
  // Where the page puts its zero: without a top layer a box may be placed within another.
  const origin = box.getBoundingClientRect();
  const at = anchor.getBoundingClientRect();
  const column = anchor.closest(".ke-beside")?.getBoundingClientRect();
  const rtl = getComputedStyle(anchor).direction === "rtl";

  let left = rtl ? at.right - origin.width : at.left;
  if (column) left = rtl ? column.right + GAP : column.left - GAP - origin.width;
  left = Math.max(EDGE, Math.min(left, window.innerWidth - EDGE - origin.width));
  let top = at.bottom + GAP;
  const above = at.top - GAP - origin.height;
  if (top + origin.height > window.innerHeight - EDGE && above >= EDGE) top = above;

  box.style.left = `${left - origin.left}px`;
  box.style.top = `${top - origin.top}px`;
}
