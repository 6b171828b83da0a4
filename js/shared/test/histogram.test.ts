import { describe, expect, it } from "vitest";
import { decodeHistograms, describeHistogram, histogramPath } from "../src/histogram";

const FIGURES = [-0.5, 0.5, 0.01, 0.2, 3, 1, 2, 1000];

function encode(histograms: number[][]): ArrayBuffer {
  const numbers = histograms.flat();
  const view = new DataView(new ArrayBuffer(numbers.length * 4));
  numbers.forEach((value, i) => view.setFloat32(i * 4, value, true));
  return view.buffer;
}

describe("decodeHistograms", () => {
  const buffer = encode([
    [1, 2, ...FIGURES],
    [3, 4, ...FIGURES],
  ]);

  it("reads a plain buffer", () => {
    const found = decodeHistograms(["a", "b"], 2, buffer);
    expect([...(found.get("b")?.counts ?? [])]).toEqual([3, 4]);
    expect(found.get("a")).toMatchObject({ min: -0.5, zeros: 3, nans: 1, infs: 2, size: 1000 });
  });

  it("reads a view into a larger buffer", () => {
    const padded = new Uint8Array(buffer.byteLength + 8);
    padded.set(new Uint8Array(buffer), 4);
    const found = decodeHistograms(["a", "b"], 2, new DataView(padded.buffer, 4, buffer.byteLength));
    expect([...(found.get("a")?.counts ?? [])]).toEqual([1, 2]);
  });

  it("refuses a buffer of the wrong length", () => {
    expect(() => decodeHistograms(["a"], 2, buffer)).toThrow(RangeError);
  });
});

describe("histogramPath", () => {
  it("draws bars on the ground line, the highest to the top", () => {
    expect(histogramPath([0, 5, 10], 20)).toBe("M0 20V20H1V10H2V0H3V20Z");
  });
  it("lets a single count be seen beside a million", () => {
    expect(histogramPath([1, 1e6], 20)).toBe("M0 20V19H1V0H2V20Z");
  });
  it("draws nothing of nothing", () => {
    expect(histogramPath([0, 0], 20)).toBe("");
    expect(histogramPath([NaN, 1], 20)).toBe("");
  });
});

it("tells a histogram in words", () => {
  const histogram = decodeHistograms(["dense"], 2, encode([[1, 2, ...FIGURES]])).get("dense");
  expect(histogram && describeHistogram("dense", histogram)).toBe(
    "Weights of dense: mean 0.01, std 0.2, min -0.5, max 0.5, zeros 3, NaN 1, Inf 2, of 1,000",
  );
});
