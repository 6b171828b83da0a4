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

const FIGURES = 8;

/** Buffers come as views or as plain buffers, depending on the version of the widget library. */
export type Binary = ArrayBuffer | ArrayBufferView;

export function decodeHistograms(paths: readonly string[], bins: number, buffer: Binary): Map<string, Histogram> {
  const view = ArrayBuffer.isView(buffer)
    ? new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    : new DataView(buffer);
  const stride = bins + FIGURES;
  if (view.byteLength !== paths.length * stride * 4) {
    throw new RangeError(`${view.byteLength} bytes for ${paths.length} histograms of ${bins} bins`);
  }
  const found = new Map<string, Histogram>();
  paths.forEach((path, i) => {
    const at = (k: number) => view.getFloat32((i * stride + k) * 4, true);
    found.set(path, {
      counts: Float32Array.from({ length: bins }, (_, k) => at(k)),
      min: at(bins),
      max: at(bins + 1),
      mean: at(bins + 2),
      std: at(bins + 3),
      zeros: at(bins + 4),
      nans: at(bins + 5),
      infs: at(bins + 6),
      size: at(bins + 7),
    });
  });
  return found;
}

/** One closed path of bars, one unit wide each, that fills `height`. A bin that holds anything shows. */
export function histogramPath(counts: ArrayLike<number>, height: number): string {
  const bars = Array.from(counts);
  const top = Math.max(...bars);
  if (!(top > 0)) return "";
  const steps = bars.map((n, x) => {
    const bar = n > 0 ? Math.max(1, (n / top) * height) : 0;
    return `V${Number((height - bar).toFixed(1))}H${x + 1}`;
  });
  return `M0 ${height}${steps.join("")}V${height}Z`;
}

export function describeHistogram(path: string, h: Histogram): string {
  const parts = [
    `mean ${figure(h.mean)}`,
    `std ${figure(h.std)}`,
    `min ${figure(h.min)}`,
    `max ${figure(h.max)}`,
    `zeros ${count(h.zeros)}`,
    `NaN ${count(h.nans)}`,
    `Inf ${count(h.infs)}`,
    `of ${count(h.size)}`,
  ];
  return `Weights of ${path}: ${parts.join(", ")}`;
}
