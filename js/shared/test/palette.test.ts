import { expect, it } from "vitest";
import { searchPalette } from "../src/palette";
import type { Family, PaletteEntry } from "../src/protocol";

const entry = (class_name: string, family: Family): PaletteEntry => ({ class_name, family, doc: "", params: [] });
const entries = [
  entry("SpatialDropout1D", "regularization"),
  entry("Dropout", "regularization"),
  entry("Dense", "core"),
  entry("Conv2D", "conv"),
];
const names = (text: string) => searchPalette(entries, text).map((one) => one.class_name);

it("puts what starts with the text first", () => expect(names("drop")).toEqual(["Dropout", "SpatialDropout1D"]));
it("finds a family", () => expect(names("regul")).toEqual(["Dropout", "SpatialDropout1D"]));
it("shows everything for no text, in the order of the alphabet", () =>
  expect(names(" ")).toEqual(["Conv2D", "Dense", "Dropout", "SpatialDropout1D"]));
