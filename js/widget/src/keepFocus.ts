// Where the focus goes when what has it goes away: not to the page, where the next key is the notebook's.

const CONTROLS = "button, input, select, textarea, [tabindex]";
const LIST = "[role=treegrid]";

interface Place {
  box: Element | null;
  /** What stands before it in the box, if anything. */
  before: Node | null;
}

/** Keeps the focus in an element from when it is there until somebody takes it elsewhere. */
export function keepFocus(root: HTMLElement): () => void {
  const tree = root.getRootNode() as Document | ShadowRoot;
  let last: HTMLElement | null = null;

  const observer = new MutationObserver((records) => {
    const place = last && placeOf(last, records);
    const { activeElement, body } = document;
    const nowhere = activeElement === null || activeElement === body || tree.activeElement === last;
    if (!last || !place || !nowhere) return;
    for (const one of homes(root, last, place)) {
      one.focus({ preventScroll: true });
      if (tree.activeElement === one) return;
    }
  });
  observer.observe(root, { subtree: true, childList: true, attributeFilter: ["disabled"] });

  const listeners = new AbortController();
  const { signal } = listeners;
  root.addEventListener("focusin", ({ target }) => void (last = target as HTMLElement), { signal });
  root.addEventListener(
    "focusout",
    // Taking away what has it may end with this event, and is over by then.
    () => void setTimeout(() => (last = last === tree.activeElement ? last : null)),
    { signal },
  );
  return () => {
    observer.disconnect();
    listeners.abort();
  };
}

/** Where something stood that can no longer have the focus; null: it still can. */
function placeOf(last: HTMLElement, records: readonly MutationRecord[]): Place | null {
  let place: Place | null = last.matches(":disabled") ? { box: last.parentElement, before: last } : null;
  let node: Node = last;
  for (const { target, previousSibling, removedNodes } of records) {
    if (![...removedNodes].some((gone) => gone.contains(node))) continue;
    node = target;
    place = { box: target as Element, before: previousSibling };
  }
  return place;
}

/** What may have the focus instead, the nearest first; for the list that is the row that the keyboard is on. */
function* homes(root: HTMLElement, last: HTMLElement, { box, before }: Place): Generator<HTMLElement> {
  yield last; // It may have been put elsewhere only.
  for (; box && box !== root && !isOfList(box); before = box, box = box.parentElement) {
    const stands = before?.isConnected ? before : null;
    const isBefore = (one: Node) =>
      stands !== null && (stands.contains(one) || (stands.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_PRECEDING) > 0);
    const controls = [...box.querySelectorAll<HTMLElement>(CONTROLS)];
    yield* controls.filter(isBefore).reverse();
    yield* controls.filter((one) => !isBefore(one));
  }
  for (const one of ['[role=row][tabindex="0"]', LIST, CONTROLS]) yield* root.querySelectorAll<HTMLElement>(one);
  root.tabIndex = -1;
  yield root;
}

function isOfList(box: Element): boolean {
  return box.querySelector(LIST) !== null || (box.closest(LIST) !== null && box.closest(".ke-detail") === null);
}
