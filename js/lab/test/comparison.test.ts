import { describe, expect, it } from "vitest";
import { type ComparedLayer, type Line, nextDifference, shownLines } from "../src/comparison";

const layer = (path: string): ComparedLayer => ({ path, name: path, level: 1, class_name: "Dense", family: "core", shape: "(None, 2)", params: 6 });
const alike = (path: string): Line => [layer(path), layer(path), []];
const LINES: Line[] = [
  ...["a", "b", "c"].map(alike),
  [layer("d"), layer("d"), ["units: 1 -> 2"]],
  ...["e", "f", "g"].map(alike),
  [layer("h"), null, []],
  [null, layer("i"), []],
];

describe("what is listed", () => {
  it("is every line", () => {
    expect(shownLines(LINES, false)).toEqual(LINES.map((_, line) => ({ line })));
  });

  it("is what differs, with a line of what is around it", () => {
    expect(shownLines(LINES, true)).toEqual([
      { alike: 2 },
      { line: 2 },
      { line: 3 },
      { line: 4 },
      { alike: 1 },
      { line: 6 },
      { line: 7 },
      { line: 8 },
    ]);
    expect(shownLines(LINES.slice(0, 3), true)).toEqual([{ alike: 3 }]);
    expect(shownLines([], true)).toEqual([]);
  });
});

describe("the next difference", () => {
  it("goes on from the other end", () => {
    expect([0, 3, 7, 8].map((from) => nextDifference(LINES, from, 1))).toEqual([3, 7, 8, 3]);
    expect([8, 7, 3, 0].map((from) => nextDifference(LINES, from, -1))).toEqual([7, 3, 8, 8]);
  });

  it("is itself where it is the only one, and none where all is alike", () => {
    expect(nextDifference(LINES.slice(2, 5), 1, 1)).toBe(1);
    expect(nextDifference(LINES.slice(0, 3), 0, 1)).toBeNull();
    expect(nextDifference([], 0, -1)).toBeNull();
  });
});
