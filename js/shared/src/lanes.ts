// The graph beside the list, as `git log --graph` draws a history: what a row puts out runs down a lane
// of its own, past the rows that do not take it, to the last one that does.
import type { Row } from "./protocol";

/** How many rows are told by name. */
const TOLD = 4;

/** The other end of an edge. `indirect`: it goes by way of rows that are not shown. */
export interface End {
  row: number;
  indirect: boolean;
}

/** The part of a lane that the output of one row takes. */
interface Span {
  source: number;
  from: number;
  to: number;
  indirect: boolean;
}

/** Rows are counted as the list shows them. */
export interface Lanes {
  /** For each row those that feed it, from top to bottom. */
  feeds: End[][];
  /** For each row those that it feeds, from top to bottom. */
  fed: End[][];
  /** The lane that each row stands on. */
  lane: number[];
  /** For each lane what runs on it, from top to bottom. */
  spans: Span[][];
}

/**
 * A line's part in one row: `through` it; `above` or `below` the row that it comes from; `join`, from
 * above into a row that takes it; `back`, from below (into a shared layer that takes what is made later).
 */
export interface Piece {
  source: number;
  lane: number;
  shape: "through" | "above" | "below" | "join" | "back";
  indirect: boolean;
}

/**
 * Lays out the lanes of a list.
 *
 * @param rows all rows
 * @param shown those of them that the list shows
 * @param unfolded the paths of models whose rows stand for them; null with a filter, which looks into all
 */
export function layLanes(rows: readonly Row[], shown: readonly Row[], unfolded: ReadonlySet<string> | null): Lanes {
  const numbers = new Map(shown.map((row, number) => [row, number]));
  const place = rows.map((row) => numbers.get(row) ?? -1);
  const sources = sourcesOf(rows, (row) => unfolded === null || unfolded.has(row.path));
  const feeds = unfolded === null ? contract(sources, place, shown.length) : direct(sources, place, shown.length);
  const fed = shown.map((): End[] => []);
  feeds.forEach((ends, row) => {
    ends.sort((a, b) => a.row - b.row);
    for (const end of ends) fed[end.row]?.push({ row, indirect: end.indirect });
  });
  // With a filter the rows of a model stand without it, so they are not set apart from the others.
  const depth = shown.map((row) => (unfolded === null ? 1 : row.level));
  return { feeds, fed, ...assign(feeds, fed, depth) };
}

/** Which rows feed each row. For an open model stand the rows inside it that make its outputs. */
function sourcesOf(rows: readonly Row[], open: (row: Row) => boolean): number[][] {
  const around: number[] = []; // the last row of each level
  return rows.map((row, number) => {
    around[row.level] = number;
    const model = around[row.level - 1];
    if (row.kind === "input" && model !== undefined) return [model];
    const sources = row.inputs.map((above, i) => {
      let at = number - above;
      let port = row.ports?.[i] ?? 0;
      for (;;) {
        const source = rows[at];
        const inside = source && open(source) ? source.outputs?.[port] : undefined;
        if (!inside || inside[0] < 1) return at;
        at += inside[0];
        port = inside[1];
      }
    });
    return [...new Set(sources)].filter((source) => source !== number);
  });
}

/** The edges between rows that a list without a filter shows: nothing hidden lies between them. */
function direct(sources: number[][], place: number[], count: number): End[][] {
  const feeds = Array.from({ length: count }, (): End[] => []);
  sources.forEach((some, number) => {
    const here = place[number] ?? -1;
    const shown = some.map((source) => place[source] ?? -1).filter((row) => row >= 0);
    if (here >= 0) feeds[here] = shown.map((row) => ({ row, indirect: false }));
  });
  return feeds;
}

/**
 * The edges between rows that a filter shows. Where hidden rows lie between, only the nearest shown
 * ones above count: those from which there is no way by another of them.
 */
function contract(sources: number[][], place: number[], count: number): End[][] {
  const feeds = Array.from({ length: count }, (): End[] => []);
  const near: number[][] = []; // for each row the shown ones that stand for it in the rows below
  const reach: Uint32Array[] = []; // for each shown row, as bits, the shown ones from which there is a way to it
  const words = (count + 31) >> 5;
  sources.forEach((some, number) => {
    const here = place[number] ?? -1;
    const known = some.filter((source) => source < number);
    const found = [...new Set(known.flatMap((source) => near[source] ?? []))];
    const straight = new Set(some.map((source) => place[source] ?? -1).filter((one) => one >= 0));
    const nearest = found.filter((one) => straight.has(one) || !found.some((other) => has(reach[other], one)));
    near[number] = here < 0 ? nearest : [here];
    if (here < 0) return;
    feeds[here] = [...new Set([...straight, ...nearest])].map((row) => ({ row, indirect: !straight.has(row) }));
    const bits = new Uint32Array(words);
    for (const one of found) {
      const more = reach[one];
      if (more) for (let i = 0; i < words; i++) bits[i] = (bits[i] ?? 0) | (more[i] ?? 0);
      bits[one >> 5] = (bits[one >> 5] ?? 0) | (1 << (one & 31));
    }
    reach[here] = bits;
  });
  return feeds;
}

function has(bits: Uint32Array | undefined, number: number): boolean {
  return (((bits?.[number >> 5] ?? 0) >>> (number & 31)) & 1) === 1;
}

/**
 * Gives each row a lane. The output of a row keeps its row's lane until the last row that takes it;
 * that row takes over the first of the lanes that end in it, so that a chain, and the trunk between
 * branches, is one straight line. Rows inside a model keep right of all lanes that pass by.
 */
function assign(feeds: End[][], fed: End[][], depth: number[]): Pick<Lanes, "lane" | "spans"> {
  const lane: number[] = [];
  const spans: Span[][] = [];
  const busy: number[] = []; // for each lane the last row that it is taken in
  const bases = [0]; // of the open models around a row, the first lane inside each

  const lastOf = (row: number) => Math.max(row, fed[row]?.at(-1)?.row ?? row);
  function take(number: number, source: number, from: number): void {
    const to = lastOf(source);
    const indirect = fed[source]?.every((end) => end.indirect) ?? false;
    (spans[number] ??= []).push({ source, from, to, indirect });
    busy[number] = to;
    lane[source] = number;
  }
  function free(row: number): number {
    let number = bases.at(-1) ?? 0;
    while ((busy[number] ?? -1) >= row) number++;
    return number;
  }

  depth.forEach((level, row) => {
    const before = depth[row - 1] ?? level;
    const passing = busy.findLastIndex((end) => end >= row);
    for (let step = before; step < level; step++) bases.push(Math.max(lane[row - 1] ?? 0, passing) + 1);
    for (let step = level; step < before; step++) bases.pop();

    if (lane[row] === undefined) {
      const above = (feeds[row] ?? []).map((end) => end.row).filter((source) => source < row);
      const ending = above.filter((source) => lastOf(source) === row && depth[source] === level);
      const own = Math.min(...ending.map((source) => lane[source] ?? Infinity));
      take(own < Infinity ? own : free(row), row, row);
    }
    // What it takes from below comes up on a lane that begins here.
    for (const { row: source } of feeds[row] ?? []) {
      if (source > row && lane[source] === undefined) take(free(row), source, row);
    }
  });
  return { lane, spans };
}

/** What there is to draw of all lines in a row. */
export function piecesIn(lanes: Lanes, row: number): Piece[] {
  const takes = new Map(lanes.feeds[row]?.map((end) => [end.row, end]));
  return lanes.spans.flatMap((spans, lane) =>
    spansIn(spans, row).flatMap(({ source, from, to, indirect }) => {
      const pieces: Piece[] = [];
      const add = (shape: Piece["shape"], by = indirect) => pieces.push({ source, lane, shape, indirect: by });
      if (source === row) {
        if (from < row) add("above");
        if (to > row) add("below");
        return pieces;
      }
      if (from < row && row < to) add("through");
      const end = takes.get(source);
      if (end) add(source < row ? "join" : "back", end.indirect);
      return pieces;
    }),
  );
}

/** Two at most: one may end where the next begins. */
function spansIn(spans: Span[], row: number): Span[] {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((spans[middle]?.to ?? 0) < row) low = middle + 1;
    else high = middle;
  }
  return spans.slice(low, low + 2).filter((span) => span.from <= row);
}

/** Whether a piece in a row belongs to what feeds another row, or to what that row feeds. */
export function isLit(lanes: Lanes, piece: Piece, row: number, looked: number): boolean {
  const { source, shape } = piece;
  if (source === looked) return true;
  if (shape === "join" || shape === "back") return row === looked;
  if (!lanes.feeds[looked]?.some((end) => end.row === source)) return false;
  if (shape === "above") return looked < row;
  if (shape === "below") return looked > row;
  return source < looked ? source < row && row < looked : looked < row && row < source;
}

/** How a row is joined to others, for those who do not see the lanes: "from a, b; to c". */
export function describeLanes(lanes: Lanes, shown: readonly Row[], row: number): string {
  const told = (word: string, ends: readonly End[] = []) => {
    const names = ends.slice(0, TOLD).map((end) => `${shown[end.row]?.path ?? ""}${end.indirect ? " (indirectly)" : ""}`);
    if (ends.length > TOLD) names.push(`${ends.length - TOLD} more`);
    return names.length > 0 ? [`${word} ${names.join(", ")}`] : [];
  };
  return [...told("from", lanes.feeds[row]), ...told("to", lanes.fed[row])].join("; ");
}
