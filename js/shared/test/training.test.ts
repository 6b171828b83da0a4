import { describe, expect, it } from "vitest";
import type { Training } from "../src/protocol";
import {
  continueCurve,
  curvePath,
  describeCurve,
  describeProgress,
  describeChange,
  describeWork,
  doneShare,
  isPending,
  keepMetrics,
  metric,
  NO_CURVE,
  readTraining,
} from "../src/training";

const training: Training = {
  running: true,
  epoch: 2,
  epochs: 10,
  step: 5,
  steps: 20,
  total: 45,
  metrics: { loss: 0.5 },
  pending: [],
  tracing: false,
  stopped: false,
  alerts: [],
};

describe("readTraining", () => {
  it("finds nothing before the first training, nor in old notebooks", () => {
    expect(readTraining(undefined)).toBeNull();
    expect(readTraining({})).toBeNull();
    expect(readTraining({ ...training, running: false, epochs: 0 })).toBeNull();
    expect(readTraining(training)).toBe(training);
  });
});

describe("progress", () => {
  it("counts epochs and steps", () => {
    expect(describeProgress(training)).toBe("Epoch 3 of 10, step 5 of 20");
    expect(doneShare(training)).toBeCloseTo(0.225);
  });
  it("goes without the number of steps", () => {
    expect(describeProgress({ ...training, steps: null })).toBe("Epoch 3 of 10, step 5");
    expect(doneShare({ ...training, steps: null })).toBeCloseTo(0.2);
  });
  it("ends at one", () => {
    expect(doneShare({ ...training, epoch: 9, step: 20 })).toBe(1);
  });
});

describe("work", () => {
  it("is told while there is some", () => {
    expect(describeWork(training)).toBe("");
    expect(describeWork({ ...training, pending: ["a"] })).toBe("1 layer changes at the next batch");
    expect(describeWork({ ...training, pending: ["a", "b"] })).toBe("2 layers change at the next batch");
    expect(describeWork({ ...training, pending: ["a"], tracing: true })).toBe("tracing the new set of flags…");
    expect(describeWork({ ...training, tracing: true, total: 0 })).toBe("tracing the first step…");
    expect(describeChange(training)).toBe("");
    expect(describeChange({ ...training, changed: 2, changed_at: 1200 })).toBe("2 layers changed after step 1,200");
  });
});

it("finds what waits in a row and below it", () => {
  const pending = ["stem", "backbone/conv1"];
  expect(isPending("stem", pending)).toBe(true);
  expect(isPending("backbone", pending)).toBe(true);
  expect(isPending("backbone/conv1", pending)).toBe(true);
  expect(isPending("backbone/conv2", pending)).toBe(false);
  expect(isPending("back", pending)).toBe(false);
});

it("shows metrics in four digits, and words as they are", () => {
  expect(metric(0.98)).toBe("0.9800");
  expect(metric(1234.56)).toBe("1235");
  expect(metric("nan")).toBe("nan");
});

describe("keepMetrics", () => {
  const begun = { ...training, epoch: 3, step: 0, metrics: {} };
  it("keeps those of the epoch before", () => {
    expect(keepMetrics(training, begun).metrics).toEqual({ loss: 0.5 });
  });
  it("keeps none of another training", () => {
    expect(keepMetrics(training, { ...begun, total: 0 }).metrics).toEqual({});
    expect(keepMetrics(null, begun).metrics).toEqual({});
  });
});

describe("the curve of the loss", () => {
  it("grows with the steps, and starts again with another training", () => {
    const one = continueCurve(NO_CURVE, training);
    expect(one).toEqual({ total: 45, values: [0.5] });
    expect(continueCurve(one, { ...training, metrics: { loss: 0.4 } }).values).toEqual([0.5]);
    const two = continueCurve(one, { ...training, total: 46, metrics: { loss: 0.4 } });
    expect(two.values).toEqual([0.5, 0.4]);
    expect(continueCurve(two, { ...training, total: 0, metrics: {} })).toEqual(NO_CURVE);
  });
  it("leaves out what is no number, and is bounded", () => {
    expect(continueCurve(NO_CURVE, { ...training, metrics: { loss: "nan" } }).values).toEqual([]);
    let curve = NO_CURVE;
    for (let total = 1; total <= 250; total++) curve = continueCurve(curve, { ...training, total, metrics: { loss: total } });
    expect(curve.values).toHaveLength(100);
    expect(curve.values.at(-1)).toBe(250);
  });
  it("is drawn from the lowest to the highest", () => {
    expect(curvePath([2, 1, 0], 100, 20)).toBe("M0 0L50 10L100 20");
    expect(curvePath([1, 1], 100, 20)).toBe("M0 10L100 10");
    expect(curvePath([100, 10, 1], 100, 20)).toBe("M0 0L50 10L100 20");
  });
  it("is told in words", () => {
    expect(describeCurve([2, 0.1234, 0.25])).toBe("Loss, the last 3 values: 0.25 now, from 0.123 to 2");
  });
});
