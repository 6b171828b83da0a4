// Which rows the list shows.
import { matcher } from "./filter";
import type { Patch, Row, Scores } from "./protocol";

/** The rows as they are: those of the last snapshot, and what differs from it. */
export function patchRows(snapshot: readonly Row[], patch: Patch): Row[] {
  return patch.flatMap((item) => (Array.isArray(item) ? snapshot.slice(item[0], item[0] + item[1]) : [item]));
}

/** What tells a row from all others on a page, under all of its names. */
export function identity(row: Row): string {
  return row.id ?? row.path;
}

/** The paths of rows that are called otherwise now, by those that they had before. */
export function renamedPaths(before: readonly Row[], rows: readonly Row[]): Map<string, string> {
  const now = new Map(rows.map(({ id, path }) => [id, path]));
  const renamed = new Map<string, string>();
  for (const { id, path } of before) {
    const to = id === undefined ? undefined : now.get(id);
    if (to !== undefined && to !== path) renamed.set(path, to);
  }
  return renamed;
}

/** The rows, with what was found of some of them. */
export function scoredRows(rows: Row[], { values = {} }: Partial<Scores>): Row[] {
  return rows.map((row) => (Object.hasOwn(values, row.path) ? { ...row, score: values[row.path] ?? 0 } : row));
}

/** The least and the most that was found, with 0 between them. */
export function scoreRange({ values = {} }: Partial<Scores>): [number, number] {
  const found = Object.values(values);
  return [Math.min(0, ...found), Math.max(0, ...found)];
}

/** Indexes of the rows that feed a row. */
export function inputsOf(rows: readonly Row[], index: number): number[] {
  return (rows[index]?.inputs ?? []).map((above) => index - above);
}

/** Rows without those inside a folded model. Models are folded unless their path is in `unfolded`. */
export function foldRows(rows: readonly Row[], unfolded: ReadonlySet<string>): Row[] {
  const shown: Row[] = [];
  let hiddenFrom = Infinity;
  for (const row of rows) {
    if (row.level > hiddenFrom) continue;
    hiddenFrom = row.kind === "model" && !unfolded.has(row.path) ? row.level : Infinity;
    shown.push(row);
  }
  return shown;
}

/**
 * The rows that the list shows. A filter looks inside folded models too, and then shows only what
 * it matches, so that "shown" means the same to the eye and to the buttons that act on it.
 */
/** @param kept the path of a row that stays, whatever the filter says */
export function shownRows(rows: readonly Row[], filter: string, unfolded: ReadonlySet<string>, kept: string | null = null): Row[] {
  if (!filter.trim()) return foldRows(rows, unfolded);
  const matches = matcher(filter);
  return rows.filter((row) => row.path === kept || matches(row));
}

/** A path and those of the models around it, from the outermost inwards. */
export function aroundPath(path: string): string[] {
  return path.split("/").map((_, n, parts) => parts.slice(0, n + 1).join("/"));
}

/** The path of the nested model that holds a row, or null at the top. */
export function parentPath(rows: readonly Row[], index: number): string | null {
  const level = rows[index]?.level ?? 1;
  for (let i = index - 1; i >= 0; i--) {
    const row = rows[i];
    if (row && row.level < level) return row.path;
  }
  return null;
}

/** The paths from one row to another, both included, in either direction. */
export function pathRange(rows: readonly Row[], from: string, to: string): string[] {
  const a = rows.findIndex((row) => row.path === from);
  const b = rows.findIndex((row) => row.path === to);
  if (a < 0 || b < 0) return [to];
  return rows.slice(Math.min(a, b), Math.max(a, b) + 1).map((row) => row.path);
}

export function hasFlag(row: Row): boolean {
  return row.trainable !== null;
}
