// Whose weights a list of paths means.
import type { Row } from "./protocol";
import { aroundPath } from "./rows";

export interface Chosen {
  row: Row;
  /** Paths of the weights that were named one by one; null: all of the row's are meant. */
  weights: ReadonlySet<string> | null;
}

/**
 * The rows that a list of paths means, in data order: those of layers, those inside of models, and
 * those that have a weight that is named. Where none is named, all rows with weights of their own.
 */
export function chosenWeights(rows: readonly Row[], paths: readonly string[]): Chosen[] {
  const named = new Set(paths);
  return rows
    .filter((row) => row.weights > 0 && row.kind !== "model")
    .flatMap((row): Chosen[] => {
      if (named.size === 0 || aroundPath(row.path).some((path) => named.has(path))) return [{ row, weights: null }];
      const single = paths.filter((path) => path.startsWith(`${row.path}/`));
      return single.length > 0 ? [{ row, weights: new Set(single) }] : [];
    });
}
