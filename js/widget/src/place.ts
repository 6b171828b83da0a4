/** Rows have one height, also in widget.css, so that where a row is needs no measuring. */
export const ROW_HEIGHT = 30;
export const MAX_HEIGHT = 16 * ROW_HEIGHT;
/** What stands around the list: the notebook's own bars, and those of the widget. */
const AROUND = 330;

/** How high a list gets where nobody says how high: so that all of the widget fits into a low window. */
export function usualHeight(): number {
  const rows = Math.floor((window.innerHeight - AROUND) / ROW_HEIGHT);
  return Math.min(MAX_HEIGHT, Math.max(6, rows) * ROW_HEIGHT);
}

/** Where the rows of a list are, in pixels. One of them may be open: it is taller by `extra`. */
export class Places {
  /**
   * @param count how many rows there are
   * @param opened the index of the open row, -1 where none is
   * @param extra how much taller it is
   * @param limit how high the list gets before it scrolls, but for that
   */
  constructor(
    readonly count: number,
    readonly opened = -1,
    readonly extra = 0,
    readonly limit = MAX_HEIGHT,
  ) {}

  top(index: number): number {
    return index * ROW_HEIGHT + (this.opened >= 0 && index > this.opened ? this.extra : 0);
  }

  bottom(index: number): number {
    return this.top(index + 1);
  }

  /** The height of all rows. */
  get height(): number {
    return this.top(this.count);
  }

  /** The height of the list, which scrolls beyond it. */
  get window(): number {
    return Math.min(this.height, this.limit + (this.opened >= 0 ? this.extra : 0));
  }

  /** The index of the row that is at a height. */
  at(y: number): number {
    const row = Math.floor(y / ROW_HEIGHT);
    if (this.opened < 0 || row <= this.opened) return row;
    return Math.max(this.opened, Math.floor((y - this.extra) / ROW_HEIGHT));
  }

  /**
   * Places a box that follows the list right under one of its rows, over those below. It stays in the
   * flow: where it reaches beyond the list's end the widget grows, and nothing of it is cut off.
   */
  under(index: number, scrollTop: number) {
    const top = Math.max(0, Math.min(this.top(index) + ROW_HEIGHT - scrollTop, this.window));
    return { marginBlockStart: top - this.window };
  }
}
