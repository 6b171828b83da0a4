// As text runs on the page: from the left, or from the right.

/** 1 for the arrow key that points on as the text of the page runs, -1 for the one that points back, 0 for other keys. */
export function onwards(event: KeyboardEvent): 1 | 0 | -1 {
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return 0;
  return (event.key === "ArrowLeft") === isFromRight(event.currentTarget as HTMLElement) ? 1 : -1;
}

/** How far the pointer is from where an element starts, in pixels. */
export function fromStart(element: Element, { clientX }: MouseEvent): number {
  const { left, right } = element.getBoundingClientRect();
  return isFromRight(element) ? right - clientX : clientX - left;
}

function isFromRight(element: Element): boolean {
  return getComputedStyle(element).direction === "rtl";
}
