// A histogram's binary form, its drawing and its summary in words.
import { count, figure } from "./format";

export interface Histogram {
  counts: Float32Array;
  min: number;
  max: number;
  mean: number;
  std: number;
  zeros: number;
  nans: number;
  infs: number;
  size: number;
}

/** The weights of a layer at a step of a training. */
export interface Moment extends Histogram {
  /** The share of values that are not as when `fit` began. */
  changed: number;
  /** The size of an update against the weights', per step; NaN where it is not known. */
  update: number;
  /** The norm of the gradient's moving average; NaN where the optimizer has none. */
  gradient: number;
}

const FIGURES = 8;

/** Buffers come as views or as plain buffers, depending on the version of the widget library. */
export type Binary = ArrayBuffer | ArrayBufferView;

export function viewOf(buffer: Binary): DataView {
  return ArrayBuffer.isView(buffer)
    ? new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    : new DataView(buffer);
}

export function decodeHistograms(paths: readonly string[], bins: number, buffer: Binary): Map<string, Histogram> {
  return decode(paths, bins, FIGURES, buffer, (at) => histogramAt(bins, at));
}

/** The same with three more figures behind each. */
export function decodeMoments(paths: readonly string[], bins: number, buffer: Binary): Map<string, Moment> {
  const [changed, update, gradient] = [bins + FIGURES, bins + FIGURES + 1, bins + FIGURES + 2];
  return decode(paths, bins, FIGURES + 3, buffer, (at) => ({
    ...histogramAt(bins, at),
    changed: at(changed),
    update: at(update),
    gradient: at(gradient),
  }));
}

function decode<T>(
  paths: readonly string[],
  bins: number,
  figures: number,
  buffer: Binary,
  read: (at: (k: number) => number) => T,
): Map<string, T> {
  const view = viewOf(buffer);
  const stride = bins + figures;
  if (view.byteLength !== paths.length * stride * 4) {
    throw new RangeError(`${view.byteLength} bytes for ${paths.length} histograms of ${bins} bins`);
  }
  return new Map(
    paths.map((path, i) => [path, read((k) => view.getFloat32((i * stride + k) * 4, true))] as const),
  );
}

function histogramAt(bins: number, at: (k: number) => number): Histogram {
  return {
    counts: Float32Array.from({ length: bins }, (_, k) => at(k)),
    min: at(bins),
    max: at(bins + 1),
    mean: at(bins + 2),
    std: at(bins + 3),
    zeros: at(bins + 4),
    nans: at(bins + 5),
    infs: at(bins + 6),
    size: at(bins + 7),
  };
}

/** One closed path of bars, one unit wide each; `top` fills `height`. A bin that holds anything shows. */
export function histogramPath(counts: ArrayLike<number>, height: number, top = Math.max(...Array.from(counts))): string {
  const bars = Array.from(counts);
  if (!(top > 0)) return "";
  const steps = bars.map((n, x) => {
    const bar = n > 0 ? Math.max(1, (n / top) * height) : 0;
    return `V${Number((height - bar).toFixed(1))}H${x + 1}`;
  });
  return `M0 ${height}${steps.join("")}V${height}Z`;
}

export function describeHistogram(path: string, h: Histogram | Moment): string {
  const parts = [
    `mean ${figure(h.mean)}`,
    `std ${figure(h.std)}`,
    `min ${figure(h.min)}`,
    `max ${figure(h.max)}`,
    `zeros ${count(h.zeros)}`,
    `NaN ${count(h.nans)}`,
    `Inf ${count(h.infs)}`,
    `of ${count(h.size)}`,
    ...("update" in h ? describeMotion(h) : []),
  ];
  return `Weights of ${path}: ${parts.join(", ")}`;
}

/** How a layer moves in training. */
function describeMotion({ changed, update, gradient }: Moment): string[] {
  const parts = [];
  if (Number.isFinite(update)) parts.push(`update ${figure(update * 100)} % a step`);
  if (Number.isFinite(gradient)) parts.push(`gradient ${figure(gradient)}`);
  if (changed === 0) parts.push("not changed since fit began");
  return parts;
}

/** The strength of an update from 0 to 1: of one in 100,000 to one in 10, by orders of magnitude. */
export function updateStrength(update: number): number {
  return update > 0 ? Math.min(1, Math.max(0, (Math.log10(update) + 5) / 4)) : 0;
}
