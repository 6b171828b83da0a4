// Two models of a kernel in step, as the kernel tells of them; docs/lab.md.
import type { Family } from "../../shared/src/protocol";

export interface ComparedModel {
  name: string;
  class_name: string;
  params: number;
  trainable: number;
}

export interface ComparedLayer {
  path: string;
  name: string;
  level: number;
  class_name: string;
  family: Family;
  shape: string;
  params: number;
}

/** A layer of each model, or of one that the other has nothing like, and what differs in words. */
export type Line = readonly [first: ComparedLayer | null, second: ComparedLayer | null, words: readonly string[]];

export interface Comparison {
  models: readonly [ComparedModel, ComparedModel];
  lines: readonly Line[];
  /** What differs of the models as a whole. */
  whole: readonly string[];
  /** How many differences of each kind there are. */
  found: readonly (readonly [kind: string, count: number])[];
}

/** A line of the list: one of the comparison by its number, or so many that are alike and left out. */
export type Shown = { line: number } | { alike: number };

export function differs([first, second, words]: Line): boolean {
  return first === null || second === null || words.length > 0;
}

/** What is listed: all, or what differs with a line of what is around it. */
export function shownLines(lines: readonly Line[], onlyDifferences: boolean): Shown[] {
  if (!onlyDifferences) return lines.map((_, line) => ({ line }));
  const near = (at: number) => [at - 1, at, at + 1].some((other) => lines[other] !== undefined && differs(lines[other]));
  const shown: Shown[] = [];
  let alike = 0;
  const fold = () => {
    if (alike > 0) shown.push({ alike });
    alike = 0;
  };
  for (const at of lines.keys()) {
    if (!near(at)) {
      alike++;
      continue;
    }
    fold();
    shown.push({ line: at });
  }
  fold();
  return shown;
}

/** The next line that differs, beyond the ends from the other one on; null where none does. */
export function nextDifference(lines: readonly Line[], from: number, by: 1 | -1): number | null {
  for (let step = 1; step <= lines.length; step++) {
    const at = (from + by * step + lines.length * 2) % lines.length;
    const line = lines[at];
    if (line && differs(line)) return at;
  }
  return null;
}
