import { describe, expect, it } from "vitest";
import { decodeDetail, describeWeight, showShape, zeroOn } from "../src/detail";
import type { Figures, LayerDetail, WeightDetail } from "../src/protocol";

const FIGURES: Figures = { min: -1, max: 2, mean: 0.5, std: 0.25, zeros: 0, nans: 0, infs: 0, size: 6 };

function weight(name: string, more: Partial<WeightDetail> = {}): WeightDetail {
  const shape = [6];
  return { path: `d/${name}`, name, shape, dtype: "float32", trainable: true, bytes: 24, source: "none", figures: FIGURES, before: null, ...more };
}

function detail(...weights: WeightDetail[]): LayerDetail {
  return { path: "d", revision: 0, bins: 2, compared: true, weights, more: 0 };
}

function floats(...values: number[]): ArrayBuffer {
  const buffer = new ArrayBuffer(4 * values.length);
  const view = new DataView(buffer);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return buffer;
}

describe("decodeDetail", () => {
  it("gives each weight its counts, and the source's where it is another", () => {
    const words = weight("words", { figures: null });
    const kernel = weight("kernel", { source: "other", before: { ...FIGURES, mean: null, shape: [4] } });
    const [bias, none, both] = decodeDetail(detail(weight("bias"), words, kernel), floats(1, 2, 3, 4, 5, 6));
    expect([...(bias?.now?.counts ?? [])]).toEqual([1, 2]);
    expect(bias?.then).toBeNull();
    expect(none?.now).toBeNull();
    expect([...(both?.now?.counts ?? [])]).toEqual([3, 4]);
    expect([...(both?.then?.counts ?? [])]).toEqual([5, 6]);
    expect(both?.now?.mean).toBe(0.5);
    expect(both?.then?.mean).toBeNaN();
  });

  it("takes any kind of buffer, at any place in it", () => {
    const bytes = new Uint8Array([9, 9, 9, ...new Uint8Array(floats(7, 8))]);
    const view = new DataView(bytes.buffer, 3);
    const [one] = decodeDetail(detail(weight("bias")), view);
    expect([...(one?.now?.counts ?? [])]).toEqual([7, 8]);
    expect(decodeDetail(detail(), undefined)).toEqual([]);
  });

  it("refuses a buffer of another size", () => {
    expect(() => decodeDetail(detail(weight("bias")), floats(1))).toThrow(RangeError);
    expect(() => decodeDetail(detail(weight("bias")), floats(1, 2, 3))).toThrow(RangeError);
  });
});

it("says in words what is drawn", () => {
  const kernel = weight("kernel", { source: "other", before: { ...FIGURES, std: 0.125, shape: [6] } });
  const [same, other, words] = decodeDetail(
    detail(weight("bias", { source: "same" }), kernel, weight("words", { figures: null })),
    floats(1, 2, 3, 4, 5, 6),
  );
  const figures = "mean 0.5, std 0.25, min -1, max 2, zeros 0, NaN 0, Inf 0, of 6";
  expect(same && describeWeight(same)).toBe(`Weights of d/bias: ${figures}. As in the source`);
  expect(other && describeWeight(other)).toBe(
    `Weights of d/kernel: ${figures}. In the source d/kernel: ${figures.replace("0.25", "0.125")}`,
  );
  expect(words && describeWeight(words)).toBe("Weights of d/words");
});

it("writes shapes as Python does", () => {
  expect([[], [10], [3, 3, 16]].map(showShape)).toEqual(["()", "(10,)", "(3, 3, 16)"]);
});

it("finds zero between the ends of an axis alone", () => {
  expect(zeroOn([-1, 3])).toBe(0.25);
  for (const edges of [[0, 1], [-1, 0], [1, 2], [-2, -1]] as const) expect(zeroOn(edges)).toBeNull();
});
