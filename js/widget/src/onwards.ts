/** 1 for the arrow key that points on as the text of the page runs, -1 for the one that points back, 0 for other keys. */
export function onwards(event: KeyboardEvent): 1 | 0 | -1 {
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return 0;
  const rtl = getComputedStyle(event.currentTarget as HTMLElement).direction === "rtl";
  return (event.key === "ArrowLeft") === rtl ? 1 : -1;
}
