import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { type Lanes, layLanes, type Piece, piecesIn } from "../../shared/src/lanes";
import type { Row } from "../../shared/src/protocol";

/** Pixels between the edge of the column and its outer lanes, and between two lanes. */
const EDGE = 9;
const MAX_GAP = 13;
const MIN_GAP = 4;
/** Share of the list that the lanes may take, and pixels that they may in any case. */
const SHARE = 0.11;
const ROOM = 56;
/** How long the pointer has to rest on a row before its edges are lit. */
const REST_MS = 50;

interface List {
  rows: ReadonlySignal<readonly Row[]>;
  shown: ReadonlySignal<readonly Row[]>;
  filter: ReadonlySignal<string>;
  unfolded: ReadonlySignal<ReadonlySet<string>>;
  active: ReadonlySignal<string | null>;
}

/** How a row stands to the one that is looked at: `leads` and `follows` are `feeds` and `takes` by way of others. */
export type Relation = "" | "self" | "feeds" | "leads" | "takes" | "follows";

/** The lanes of one list, and whose edges are lit. */
export class LaneView {
  readonly layout: ReadonlySignal<Lanes>;
  /** Pixels from lane to lane, and of the whole column. */
  readonly size: ReadonlySignal<{ gap: number; width: number }>;
  /** The row that is looked at, by its place in the list: the pointer's, else the keyboard's. -1 where none is. */
  readonly looked: ReadonlySignal<number>;
  readonly focused = signal(false);
  readonly #pointed = signal<string | null>(null);
  /** Pixels that the list has, by steps. */
  readonly listWidth = signal(0);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(list: List) {
    this.layout = computed(() =>
      layLanes(list.rows.value, list.shown.value, list.filter.value.trim() ? null : list.unfolded.value),
    );
    this.size = computed(() => {
      const steps = Math.max(0, this.layout.value.spans.length - 1);
      const room = Math.max(ROOM, this.listWidth.value * SHARE) - 2 * EDGE;
      const gap = Math.min(MAX_GAP, Math.max(MIN_GAP, room / Math.max(1, steps)));
      return { gap, width: Math.ceil(2 * EDGE + Math.min(steps * gap, room)) };
    });
    const numbers = computed(() => new Map(list.shown.value.map((row, number) => [row.path, number])));
    this.looked = computed(() => {
      const path = this.#pointed.value ?? (this.focused.value ? list.active.value : null);
      return (path === null ? undefined : numbers.value.get(path)) ?? -1;
    });
  }

  /** Where a lane runs. Those that there is no room for share the last place. */
  x(lane: number): number {
    const { gap, width } = this.size.value;
    return Math.min(EDGE + lane * gap, width - EDGE);
  }

  /** The line at a place in a row, or the row's own node. */
  at(x: number, row: number): Piece | undefined {
    const layout = this.layout.value;
    const far = (piece: Piece) => Math.abs(this.x(piece.lane) - x);
    const reach = Math.max(3, this.size.value.gap / 2);
    return piecesIn(layout, row)
      .filter((piece) => far(piece) <= reach)
      .sort((a, b) => far(a) - far(b))[0];
  }

  relation(row: number): Relation {
    const looked = this.looked.value;
    if (looked < 0) return "";
    if (looked === row) return "self";
    const { feeds, fed } = this.layout.value;
    const above = feeds[looked]?.find((end) => end.row === row);
    if (above) return above.indirect ? "leads" : "feeds";
    const below = fed[looked]?.find((end) => end.row === row);
    return !below ? "" : below.indirect ? "follows" : "takes";
  }

  /** The row that feeds a row, or that it feeds: the next one, or the `last`. -1 where there is none. */
  next(row: number, upwards: boolean, last: boolean): number {
    const { feeds, fed } = this.layout.value;
    const ends = (upwards ? feeds : fed)[row] ?? [];
    return ends.at(upwards === last ? 0 : -1)?.row ?? -1;
  }

  /** The pointer came upon a row, or left them all. */
  point(path: string | null): void {
    clearTimeout(this.#timer);
    if (path === this.#pointed.peek()) return;
    this.#timer = setTimeout(() => (this.#pointed.value = path), REST_MS);
  }

  measure(listWidth: number): void {
    this.listWidth.value = Math.round(listWidth / 40) * 40;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
