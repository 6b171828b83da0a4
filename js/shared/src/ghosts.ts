// Rows for layers of the source that are gone, among those of the layers that there are.
import { matcher } from "./filter";
import type { Removed, Row } from "./protocol";
import { aroundPath } from "./rows";

/** The row's name as a screen reader tells it. */
export function rowLabel(row: Row): string {
  return row.kind === "ghost" ? row.title : row.path;
}

function ghostRow({ path, name, level, class_name, family, params }: Removed): Row {
  return {
    path: `removed:${path}`, // No layer's: one of the same name may stand there now.
    name,
    level,
    kind: "ghost",
    class_name,
    family,
    shape: "",
    dtype: "",
    params,
    trainable: null,
    trainable_params: 0,
    weights: 0,
    marks: [],
    status: "removed",
    calls: 0,
    inputs: [],
    title: `Removed ${path}`,
  };
}

/**
 * The rows that are shown with those of the layers that are gone, each where it stood. In a folded
 * model they are hidden as its rows are; a filter picks among them as among all.
 */
export function withGhosts(
  rows: readonly Row[],
  shown: readonly Row[],
  removed: readonly Removed[],
  filter: string,
  unfolded: ReadonlySet<string>,
): readonly Row[] {
  if (removed.length === 0) return shown;
  const number = new Map(rows.map((row, at) => [row.path, at]));
  const matches = filter.trim() ? matcher(filter) : null;
  const isOpen = (path: string) => aroundPath(path).every((model) => unfolded.has(model));
  const found: Row[] = [];
  let next = 0;
  for (const gone of removed) {
    const row = ghostRow(gone);
    if (matches ? !matches({ ...row, path: gone.path }) : gone.parent !== null && !isOpen(gone.parent)) continue;
    const after = gone.after === null ? -1 : (number.get(gone.after) ?? -1);
    for (; next < shown.length; next++) {
      const one = shown[next];
      if (!one || (number.get(one.path) ?? -1) > after) break;
      found.push(one);
    }
    found.push(row);
  }
  return [...found, ...shown.slice(next)];
}
