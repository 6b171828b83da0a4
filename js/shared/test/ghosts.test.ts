import { describe, expect, it } from "vitest";
import { rowLabel, withGhosts } from "../src/ghosts";
import type { Removed } from "../src/protocol";
import { shownRows } from "../src/rows";
import { row } from "./row";

function gone(path: string, after: string | null, parent: string | null = null): Removed {
  const parts = path.split("/");
  const [name = "", level] = [parts.at(-1), parts.length];
  return { path, name, level, class_name: "Dropout", family: "regularization", params: 2, parent, after };
}

const rows = [
  row("image", "InputLayer", "input"),
  row("inner", "Functional", "model"),
  ...["inner/a", "inner/b", "head"].map((path) => ({ ...row(path), params: 4, trainable_params: 4 })),
];
const removed = [gone("inner/drop", "inner/a", "inner"), gone("inner/last", "inner/b", "inner"), gone("flat", "inner/b")];

function shown(filter: string, ...unfolded: string[]): string[] {
  const open = new Set(unfolded);
  return withGhosts(rows, shownRows(rows, filter, open), removed, filter, open).map(rowLabel);
}

describe("withGhosts", () => {
  it("puts what is gone where it stood", () => {
    expect(shown("", "inner")).toEqual([
      "image",
      "inner",
      "inner/a",
      "Removed inner/drop",
      "inner/b",
      "Removed inner/last",
      "Removed flat",
      "head",
    ]);
  });

  it("folds what stood in a model with it", () => {
    expect(shown("")).toEqual(["image", "inner", "Removed flat", "head"]);
  });

  it("filters it as it filters layers", () => {
    expect(shown("inner/*")).toEqual(["inner/a", "Removed inner/drop", "inner/b", "Removed inner/last"]);
    expect(shown("is:changed")).toEqual(["Removed inner/drop", "Removed inner/last", "Removed flat"]);
    expect(shown("is:frozen")).toEqual([]);
  });

  it("puts what was first before all, and keeps what nothing is left of at the end", () => {
    const first = [gone("old", null)];
    expect(withGhosts(rows, rows, first, "", new Set()).map(rowLabel)[0]).toBe("Removed old");
    expect(withGhosts([], [], first, "", new Set()).map(rowLabel)).toEqual(["Removed old"]);
    expect(withGhosts(rows, rows, [], "", new Set())).toBe(rows);
  });
});
