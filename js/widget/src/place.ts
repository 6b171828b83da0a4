/** Rows have one height, also in widget.css, so that where a row is needs no measuring. */
export const ROW_HEIGHT = 30;
export const MAX_HEIGHT = 16 * ROW_HEIGHT;

export function listHeight(rows: number): number {
  return Math.min(rows * ROW_HEIGHT, MAX_HEIGHT);
}

/**
 * Places a box that follows the list right under one of its rows, over those below. It stays in the
 * flow: where it reaches beyond the list's end the widget grows, and nothing of it is cut off.
 */
export function underRow(index: number, rows: number, scrollTop: number) {
  const height = listHeight(rows);
  const top = Math.max(0, Math.min((index + 1) * ROW_HEIGHT - scrollTop, height));
  return { marginBlockStart: top - height };
}
