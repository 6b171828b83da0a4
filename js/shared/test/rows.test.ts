import { describe, expect, it } from "vitest";
import type { Row } from "../src/protocol";
import { aroundPath, foldRows, inputsOf, parentPath, patchRows, pathRange, renamedPaths, scoredRows, scoreRange, shownRows } from "../src/rows";
import { row } from "./row";

const rows = [
  row("image", "InputLayer", "input"),
  row("backbone", "Functional", "model"),
  row("backbone/conv1", "Conv2D"),
  row("backbone/inner", "Sequential", "model"),
  row("backbone/inner/dense"),
  row("backbone/conv2", "Conv2D"),
  row("head"),
];
const paths = (some: readonly Row[]) => some.map((one) => one.path);

it("aroundPath tells a path and those of the models around it", () => {
  expect(aroundPath("a/b/c")).toEqual(["a", "a/b", "a/b/c"]);
});

describe("patchRows", () => {
  it("takes runs of rows that were sent before, and the rows that were not", () => {
    const dropout = row("dropout", "Dropout");
    const patched = patchRows(rows, [[0, 5], dropout, [6, 1]]);
    expect(patched).toEqual([...rows.slice(0, 5), dropout, rows[6]]);
    expect(patchRows([], [])).toEqual([]);
  });
});

describe("renamedPaths", () => {
  const called = (...names: string[]) => names.map((name, n) => ({ ...row(name), id: `${n}` }));

  it("tells rows by what they are", () => {
    expect([...renamedPaths(called("a", "b", "c"), called("b", "a", "c", "d"))]).toEqual([
      ["a", "b"],
      ["b", "a"],
    ]);
  });

  it("tells nothing of rows of which that is not known", () => {
    expect(renamedPaths([row("a"), row("b")], [row("a"), row("c")]).size).toBe(0);
  });
});

describe("what was found of layers", () => {
  const scores = { label: "loss added", values: { head: 2, "backbone/conv1": -0.5, constructor: 1 } };

  it("stands in the rows that it is of", () => {
    const found = scoredRows(rows, scores);
    expect(found.map((one) => one.score)).toEqual([undefined, undefined, -0.5, undefined, undefined, undefined, 2]);
    expect(found[0]).toBe(rows[0]); // Nothing of it is new.
    expect(paths(shownRows(found, "is:ablated", new Set()))).toEqual(["backbone/conv1", "head"]);
  });

  it("is of no row where there is nothing, whatever a layer is called", () => {
    const strange = [row("constructor"), row("toString")];
    expect(scoredRows(strange, {})).toEqual(strange);
    expect(scoredRows(strange, { label: "x", values: { other: 1 } })).toEqual(strange);
  });

  it("is measured from zero on", () => {
    expect(scoreRange(scores)).toEqual([-0.5, 2]);
    expect(scoreRange({ values: { head: 2 } })).toEqual([0, 2]);
    expect(scoreRange({})).toEqual([0, 0]);
  });
});

describe("inputsOf", () => {
  it("counts upwards from the row", () => {
    const chain = [row("a"), row("b"), { ...row("add"), inputs: [1, 2] }];
    expect(inputsOf(chain, 2)).toEqual([1, 0]);
    expect(inputsOf(chain, 0)).toEqual([]);
  });
});

describe("foldRows", () => {
  it("folds models unless told otherwise", () => {
    expect(paths(foldRows(rows, new Set()))).toEqual(["image", "backbone", "head"]);
  });
  it("keeps an inner model folded in an unfolded one", () => {
    expect(paths(foldRows(rows, new Set(["backbone"])))).toEqual([
      "image",
      "backbone",
      "backbone/conv1",
      "backbone/inner",
      "backbone/conv2",
      "head",
    ]);
  });
  it("shows nothing of an unfolded model inside a folded one", () => {
    expect(paths(foldRows(rows, new Set(["backbone/inner"])))).toEqual(["image", "backbone", "head"]);
  });
});

describe("shownRows", () => {
  it("looks into folded models when it filters", () => {
    expect(paths(shownRows(rows, "dense", new Set()))).toContain("backbone/inner/dense");
  });
});

it("parentPath finds the model around a row", () => {
  expect(parentPath(rows, 4)).toBe("backbone/inner");
  expect(parentPath(rows, 5)).toBe("backbone");
  expect(parentPath(rows, 6)).toBeNull();
});

it("pathRange goes in both directions and survives an anchor that is gone", () => {
  expect(pathRange(rows, "head", "backbone/conv2")).toEqual(["backbone/conv2", "head"]);
  expect(pathRange(rows, "gone", "head")).toEqual(["head"]);
});
