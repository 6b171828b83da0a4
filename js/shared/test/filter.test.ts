import { describe, expect, it } from "vitest";
import globs from "../../../tests/globs.json";
import { globTest, hasWord, matcher, toggleWord, untyped, wordsOf } from "../src/filter";
import type { Row } from "../src/protocol";
import { row as plain } from "./row";

const row = (path: string, class_name: string, more: Partial<Row> = {}): Row => ({ ...plain(path, class_name), ...more });

const frozen = { params: 10, trainable_params: 0, trainable: false };
const trains = { params: 10, trainable_params: 10 };
const rows = [
  row("image", "InputLayer", { trainable: null }),
  row("backbone", "Functional", { params: 20, trainable_params: 10 }),
  row("backbone/conv1", "Conv2D", frozen),
  row("backbone/inner", "Sequential"),
  row("backbone/inner/dense", "Dense"),
  row("backbone/conv2", "Conv2D", trains),
  row("two words", "Conv2DTranspose", { ...trains, marks: ["shared"] }),
  row("is:frozen", "Dropout", { status: "added" }),
  row("head", "Dense", { ...frozen, status: "changed" }),
];
const matching = (filter: string) => rows.filter(matcher(filter)).map((one) => one.path);

describe("a plain word", () => {
  it("finds part of a path or of a class, whatever the case", () => {
    expect(matching("CONV")).toEqual(["backbone/conv1", "backbone/conv2", "two words"]);
    expect(matching("sequential")).toEqual(["backbone/inner"]);
  });
  it("takes a wildcard as a glob over the whole path, where * stays within one level", () => {
    expect(matching("backbone/*")).toEqual(["backbone/conv1", "backbone/inner", "backbone/conv2"]);
    expect(matching("backbone/**")).toEqual([
      "backbone/conv1",
      "backbone/inner",
      "backbone/inner/dense",
      "backbone/conv2",
    ]);
    expect(matching("h?ad")).toEqual(["head"]);
    expect(matching("backbone/conv[2-9]")).toEqual(["backbone/conv2"]);
    expect(matching("backbone/conv[!2-9]")).toEqual(["backbone/conv1"]);
  });
  it("takes glob characters that make no pattern as nothing worse than no match", () => {
    for (const filter of ["[", "[]", "[z-a]", "*(", "[\\", "a]*"]) expect(matching(filter)).toEqual([]);
  });
});

describe("a glob", () => {
  it.each(globs)("$glob means what it means to the kernel", ({ glob, fits, not }) => {
    const test = globTest(glob);
    expect(fits.filter((text) => !test(text))).toEqual([]);
    expect(not.filter(test)).toEqual([]);
  });
});

describe("words of a filter", () => {
  it("are all to fit, in any order", () => {
    expect(matching("conv backbone")).toEqual(["backbone/conv1", "backbone/conv2"]);
    expect(matching("  is:frozen   conv ")).toEqual(["backbone/conv1"]);
    expect(matching("type:dense is:changed")).toEqual(["head"]);
  });
  it("ask for a class by its whole name, or by a glob of it", () => {
    expect(matching("type:Conv2D")).toEqual(["backbone/conv1", "backbone/conv2"]);
    expect(matching("TYPE:conv2d*")).toEqual(["backbone/conv1", "backbone/conv2", "two words"]);
    expect(matching("type:Conv")).toEqual([]);
  });
  it("let any of several classes through", () => {
    expect(matching("type:Dense type:Dropout")).toEqual(["backbone/inner/dense", "is:frozen", "head"]);
  });
  it("ask what a row is", () => {
    expect(matching("is:trainable")).toEqual(["backbone", "backbone/conv2", "two words"]);
    expect(matching("is:frozen")).toEqual(["backbone/conv1", "head"]);
    expect(matching("is:changed")).toEqual(["is:frozen", "head"]);
    expect(matching("is:shared")).toEqual(["two words"]);
    expect(matching("IS:Nested")).toEqual(matching("backbone/**"));
  });
  it("stay plain text where nothing of that name is known", () => {
    expect(matching("is:constructor")).toEqual([]);
    expect(matching("is:f")).toEqual(["is:frozen"]);
  });
  it("hide nothing while they are being typed", () => {
    expect(matching("type:")).toHaveLength(rows.length);
    expect(matching("head is:")).toEqual(["head"]);
  });
  it("are one in quotes, and then plain text", () => {
    expect(matching('"two words"')).toEqual(["two words"]);
    expect(matching('"words two"')).toEqual([]);
    expect(matching('"is:frozen"')).toEqual(["is:frozen"]);
    expect(matching('type:"Conv2D"')).toEqual(["backbone/conv1", "backbone/conv2"]);
    expect(matching('"two wo')).toEqual(["two words"]);
  });
});

describe("toggleWord", () => {
  it("puts a word in and takes it out again, and leaves the others", () => {
    expect(toggleWord("", "is:frozen")).toBe("is:frozen");
    expect(toggleWord('conv  "two words"', "is:frozen")).toBe('conv "two words" is:frozen');
    expect(toggleWord('conv IS:FROZEN "two words"', "is:frozen")).toBe('conv "two words"');
    expect(hasWord("conv is:frozen", "is:frozen")).toBe(true);
    expect(hasWord('conv "is:frozen"', "is:frozen")).toBe(false);
  });
  it("survives any text", () => {
    for (const text of ['"', 'a "b', '""', 'a"b c"d', "  "]) {
      const longer = toggleWord(text, "is:frozen");
      expect(hasWord(longer, "is:frozen")).toBe(true);
      expect(wordsOf(toggleWord(longer, "is:frozen"))).toHaveLength(wordsOf(text).length);
    }
  });
});

it("untyped leaves the words that ask for no type", () => {
  expect(untyped('conv type:Conv2D is:frozen TYPE:Dense "a b"')).toBe('conv is:frozen "a b"');
  expect(untyped("type:Conv2D")).toBe("");
});
