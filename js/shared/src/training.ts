// Where a training stands, in words, and the curve of its loss.
import { count, figure, plural } from "./format";
import type { Training } from "./protocol";

/** Before the first `fit` there is nothing to show; old notebooks hold an empty object. */
export function readTraining(given: Partial<Training> | undefined): Training | null {
  return given?.epochs ? (given as Training) : null;
}

/** The share of a training that is done, from 0 to 1. */
export function doneShare({ epoch, epochs, step, steps }: Training): number {
  return Math.min(1, (epoch + (steps ? step / steps : 0)) / epochs);
}

export function describeProgress({ epoch, epochs, step, steps }: Training): string {
  return `Epoch ${epoch + 1} of ${epochs}, step ${steps === null ? step : `${step} of ${steps}`}`;
}

/** What is under way besides the steps. */
export function describeWork({ tracing, pending, total }: Training): string {
  if (tracing) return total > 0 ? "tracing the new set of flags…" : "tracing the first step…";
  if (pending.length === 0) return "";
  return `${plural(pending.length, "layer")} ${pending.length === 1 ? "changes" : "change"} at the next batch`;
}

/** What toggles have done last. */
export function describeChange({ changed = 0, changed_at = 0 }: Training): string {
  return changed > 0 ? `${plural(changed, "layer")} changed after step ${count(changed_at)}` : "";
}

/** Whether the flag of a row, or of any inside it, waits for a batch to come. */
export function isPending(path: string, pending: readonly string[]): boolean {
  return pending.some((other) => other === path || other.startsWith(`${path}/`));
}

/** An epoch that has begun has no metrics yet: those of the one before stay in sight. */
export function keepMetrics(before: Training | null, now: Training): Training {
  const fresh = Object.keys(now.metrics).length > 0 || before === null || now.total < before.total;
  return fresh ? now : { ...now, metrics: before.metrics };
}

/** Four digits, of which none comes and goes as the number moves. */
export function metric(value: number | string): string {
  return typeof value === "string" ? value : value.toPrecision(4);
}

/** The last values of the loss. */
export interface Curve {
  /** Batches done when the last of them was taken. */
  total: number;
  values: readonly number[];
}

export const NO_CURVE: Curve = { total: 0, values: [] };
const CURVE_LENGTH = 100;

/** A curve with the loss as it is now; another training begins another. */
export function continueCurve(curve: Curve, { total, metrics }: Training): Curve {
  const { total: before, values } = total < curve.total ? NO_CURVE : curve;
  const loss = metrics["loss"];
  if (typeof loss !== "number" || total === before) return { total: before, values };
  return { total, values: [...values, loss].slice(-CURVE_LENGTH) };
}

/** A line through the values, from the lowest at the bottom to the highest at the top; logarithmic if it can be. */
export function curvePath(given: readonly number[], width: number, height: number): string {
  const values = given.every((value) => value > 0) ? given.map(Math.log) : given;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (i: number) => Number(((i / Math.max(1, values.length - 1)) * width).toFixed(1));
  const y = (value: number) => Number((high > low ? (1 - (value - low) / (high - low)) * height : height / 2).toFixed(1));
  return values.map((value, i) => `${i === 0 ? "M" : "L"}${x(i)} ${y(value)}`).join("");
}

export function describeCurve(values: readonly number[]): string {
  const [low, high, last] = [Math.min(...values), Math.max(...values), values.at(-1) ?? NaN];
  return `Loss, the last ${plural(values.length, "value")}: ${figure(last)} now, from ${figure(low)} to ${figure(high)}`;
}
