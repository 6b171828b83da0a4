import { describe, expect, it } from "vitest";
import { chosenWeights } from "../src/chosen";
import type { Row } from "../src/protocol";

function row(path: string, weights = 2, kind: Row["kind"] = "layer"): Row {
  return { path, weights, kind } as Row;
}

const rows = [
  row("input", 0, "input"),
  row("conv"),
  row("backbone", 4, "model"),
  row("backbone/conv"),
  row("backbone/relu", 0),
  row("backbone/dense"),
  row("conv_2"),
];

function told(...paths: string[]): (string | [string, ...string[]])[] {
  return chosenWeights(rows, paths).map(({ row, weights }) => (weights ? [row.path, ...weights] : row.path));
}

describe("chosenWeights", () => {
  it("takes all layers with weights where nothing is named", () => {
    expect(told()).toEqual(["conv", "backbone/conv", "backbone/dense", "conv_2"]);
  });

  it("takes layers by their whole path, in data order", () => {
    expect(told("conv_2", "conv")).toEqual(["conv", "conv_2"]);
    expect(told("con")).toEqual([]);
  });

  it("takes what is inside a model", () => {
    expect(told("backbone")).toEqual(["backbone/conv", "backbone/dense"]);
  });

  it("takes single weights, and a whole layer before them", () => {
    expect(told("conv_2/bias", "backbone/conv/kernel", "backbone/conv/bias")).toEqual([
      ["backbone/conv", "backbone/conv/kernel", "backbone/conv/bias"],
      ["conv_2", "conv_2/bias"],
    ]);
    expect(told("conv/bias", "conv")).toEqual(["conv"]);
  });

  it("takes nothing of what is not there or has no weights", () => {
    expect(told("nowhere", "input", "backbone/relu")).toEqual([]);
  });
});
