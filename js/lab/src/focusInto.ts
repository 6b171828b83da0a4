/** Gives the focus to the first of these that is there, unless a click inside has a place of its own for it. */
export function focusInto(node: HTMLElement, selectors: readonly string[], options?: FocusOptions): void {
  if (node.contains(document.activeElement)) return;
  const found = selectors.map((selector) => node.querySelector<HTMLElement>(selector)).find((element) => element !== null);
  (found ?? node).focus(options);
}
