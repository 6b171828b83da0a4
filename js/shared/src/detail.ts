// The weights of one layer as the kernel tells them.
import { type Binary, describeHistogram, type Histogram, viewOf } from "./histogram";
import type { Figures, LayerDetail, WeightDetail } from "./protocol";

/** A weight with its histogram, and the source's on the same bins where that is another. */
export interface Weight extends WeightDetail {
  now: Histogram | null;
  then: Histogram | null;
}

/** The weights of an answer; the counts of their histograms are in its buffer, one behind the other. */
export function decodeDetail(detail: LayerDetail, buffer: Binary | undefined): Weight[] {
  const bytes = viewOf(buffer ?? new ArrayBuffer(0));
  let at = 0;
  function next(figures: Figures | null): Histogram | null {
    if (!figures) return null;
    const counts = Float32Array.from({ length: detail.bins }, (_, k) => bytes.getFloat32(at + 4 * k, true));
    at += 4 * detail.bins;
    const { min, max, mean, std } = figures;
    return { ...figures, counts, min: min ?? NaN, max: max ?? NaN, mean: mean ?? NaN, std: std ?? NaN };
  }
  const weights = detail.weights.map((weight) => ({ ...weight, now: next(weight.figures), then: next(weight.before) }));
  if (at !== bytes.byteLength) throw new RangeError(`${bytes.byteLength} bytes for histograms of ${at}`);
  return weights;
}

/** A weight's histogram in words. */
export function describeWeight({ path, now, then, source }: Weight): string {
  if (!now) return `Weights of ${path}`;
  const text = describeHistogram(path, now);
  if (then) return `${text}. ${describeHistogram(path, then).replace("Weights of", "In the source")}`;
  return source === "same" ? `${text}. As in the source` : text;
}

/** `(3, 3, 16)`, `(10,)`, `()`, as Python writes it. */
export function showShape(shape: readonly number[]): string {
  return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}

/** Where 0 stands on an axis, from 0 to 1; null where it is not on it, or at its end. */
export function zeroOn([low, high]: readonly [number, number]): number | null {
  const place = -low / (high - low);
  return place > 0 && place < 1 ? place : null;
}
