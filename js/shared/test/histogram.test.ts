import { describe, expect, it } from "vitest";
import { decodeHistograms, decodeMoments, describeHistogram, histogramPath, updateStrength } from "../src/histogram";

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

describe("moments", () => {
  const [moving, still] = [
    [0.25, 0.0012, 0.5],
    [0, 0, NaN],
  ];
  const buffer = encode([
    [1, 2, ...FIGURES, ...moving],
    [3, 4, ...FIGURES, ...still],
  ]);
  const found = decodeMoments(["a", "b"], 2, buffer);

  it("have three more figures", () => {
    expect([...(found.get("b")?.counts ?? [])]).toEqual([3, 4]);
    expect(found.get("a")).toMatchObject({ size: 1000, changed: 0.25, gradient: 0.5 });
    expect(() => decodeHistograms(["a", "b"], 2, buffer)).toThrow(RangeError);
  });

  it("tell how a layer moves", () => {
    const tell = (path: string) => {
      const moment = found.get(path);
      return moment && describeHistogram(path, moment).split("of 1,000, ")[1];
    };
    expect(tell("a")).toBe("update 0.12 % a step, gradient 0.5");
    expect(tell("b")).toBe("update 0 % a step, not changed since fit began");
  });

  it("have a strength by orders of magnitude", () => {
    expect([NaN, 0, 1e-9, 1e-5, 1e-3, 0.1, 7].map(updateStrength)).toEqual([0, 0, 0, 0, 0.5, 1, 1]);
  });
});
