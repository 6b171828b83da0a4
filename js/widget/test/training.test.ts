import { signal } from "@preact/signals";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Question, Training, Word } from "../../shared/src/protocol";
import type { Host } from "../src/host";
import { type Kernel, TrainingView } from "../src/training";

const BEGUN: Training = {
  running: true,
  epoch: 0,
  epochs: 5,
  step: 0,
  steps: 10,
  total: 0,
  metrics: {},
  pending: [],
  tracing: false,
  stopped: false,
  alerts: [],
};

/** One bin a path, then 8 figures and 3 more; the mean tells one from another. */
function encode(means: number[]): ArrayBuffer {
  return Float32Array.from(means.flatMap((mean) => [1, -1, 1, mean, 0, 0, 0, 0, 4, 0.5, 0.01, NaN])).buffer;
}

class Page {
  readonly said: Word[] = [];
  readonly asked: { paths: string[]; step: number }[] = [];
  readonly #traits: Record<string, unknown>;
  readonly #changed = new Map<string, () => void>();
  readonly host: Host;
  readonly kernel: Kernel;
  /** What the kernel knows of the losses so far. */
  losses = { total: 0, values: [] as number[] };
  /** How the kernel answers when asked for a step. */
  steps: (step: number) => number = (step) => step;

  constructor(training: unknown) {
    this.#traits = { training };
    this.host = {
      get: (name: string) => this.#traits[name],
      on: (event: string, callback: () => void) => void this.#changed.set(event, callback),
      off: (event: string) => void this.#changed.delete(event),
    } as unknown as Host;
    this.kernel = {
      tell: (word) => void this.said.push(word),
      ask: ((question: Question) => {
        if (!("query" in question) || question.query !== "moments") return Promise.resolve({ ok: this.losses, buffers: [] });
        const { paths, step } = question;
        this.asked.push({ paths, step });
        const steps = paths.map(() => this.steps(step));
        return Promise.resolve({ ok: { paths, steps, bins: 1 }, buffers: [encode(steps)] });
      }) as Kernel["ask"],
    };
  }

  async set(training: unknown): Promise<void> {
    this.#traits["training"] = training;
    this.#changed.get("change:training")?.();
    await settled();
  }
}

const settled = () => vi.advanceTimersByTimeAsync(0);
const rested = () => vi.advanceTimersByTimeAsync(200);
const watches = (page: Page) => page.said.flatMap((word) => ("query" in word && word.query === "watch" ? [word.paths] : []));
const frame = (view: TrainingView, training: object, means: Record<string, number>) =>
  view.receive({ frame: { training: { ...BEGUN, ...training }, paths: Object.keys(means), bins: 1 } }, [
    encode(Object.values(means)),
  ]);
const mean = (view: TrainingView, path: string) => view.histogram(path, new Map())?.mean;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "requestAnimationFrame", "cancelAnimationFrame"] }));
afterEach(() => void vi.useRealTimers());

describe("what is watched", () => {
  it("is said when a training starts and when rows come to rest", async () => {
    const page = new Page({});
    const view = new TrainingView(page.host, page.kernel);
    view.view(["a", "b"]);
    await rested();
    expect(page.said).toEqual([]);
    await page.set(BEGUN);
    await rested();
    expect(watches(page)).toEqual([["a", "b"]]);
    view.view(["b"]);
    view.view(["b", "c"]);
    await rested();
    expect(watches(page).slice(1)).toEqual([["b", "c"]]);
    view.view(["a"]);
    view.close();
    await rested();
    expect(watches(page)).toHaveLength(2);
  });

  it("is nothing while the widget is out of sight", async () => {
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    view.view(["a"]);
    await rested();
    view.setVisible(false);
    await rested();
    view.setVisible(true);
    await rested();
    expect(watches(page)).toEqual([["a"], [], ["a"]]);
    view.close();
  });

  it("is nothing where weights are to stand still", async () => {
    const [page, moves] = [new Page(BEGUN), signal(true)];
    const view = new TrainingView(page.host, page.kernel, moves);
    view.view(["a"]);
    await rested();
    frame(view, {}, { a: 5 });
    await rested();
    expect(mean(view, "a")).toBe(5);
    moves.value = false;
    expect(view.shows("a")).toBe(false);
    await rested();
    moves.value = true;
    await rested();
    expect(watches(page)).toEqual([["a"], [], ["a"]]);
    view.close();
  });

  it("is nothing while the page is not looked at", async () => {
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    const hidden = vi.spyOn(document, "hidden", "get");
    view.view(["a"]);
    await rested();
    for (const now of [true, false]) {
      hidden.mockReturnValue(now);
      document.dispatchEvent(new Event("visibilitychange"));
      await rested();
    }
    expect(watches(page)).toEqual([["a"], [], ["a"]]);
    view.close();
    document.dispatchEvent(new Event("visibilitychange"));
    await rested();
    expect(watches(page)).toHaveLength(3);
    hidden.mockRestore();
  });

  it("is no more than the kernel takes, however many rows there are", async () => {
    const page = new Page({ ...BEGUN, total: 9 });
    const view = new TrainingView(page.host, page.kernel);
    view.view(Array.from({ length: 600 }, (_, n) => `d${n}`));
    view.scrub(5);
    await rested();
    expect([watches(page)[0]?.length, page.asked[0]?.paths.length]).toEqual([512, 512]);
    view.close();
  });
});

describe("frames", () => {
  it("tell the state at once, and the weights with the next picture, each acknowledged", async () => {
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    frame(view, { total: 3, metrics: { loss: 2 } }, { a: 1, b: 6 });
    frame(view, { total: 4, metrics: { loss: 1 } }, { a: 2, b: 5 });
    expect(view.state.value?.total).toBe(4);
    expect(view.curve.value.values).toEqual([2, 1]);
    expect(mean(view, "a")).toBeUndefined();
    expect(page.said).toEqual([]);
    await vi.advanceTimersByTimeAsync(20);
    expect([mean(view, "a"), mean(view, "b")]).toEqual([2, 5]);
    expect(page.said).toEqual([{ action: "drawn" }, { action: "drawn" }]);
    expect([view.shows("a"), view.shows("c")]).toEqual([true, false]);
    view.close();
  });

  it("pile up nowhere while the page draws none, and are not acknowledged by the thousand", async () => {
    const decoded = vi.spyOn(Float32Array, "from");
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    const draws: (() => void)[] = [];
    vi.stubGlobal("requestAnimationFrame", (draw: () => void) => draws.push(draw));
    for (let total = 1; total <= 1000; total++) frame(view, { total }, { a: total });
    expect(view.state.value?.total).toBe(1000);
    const before = decoded.mock.calls.length;
    draws.forEach((draw) => draw());
    expect(decoded.mock.calls.length - before).toBe(1);
    expect([draws.length, mean(view, "a")]).toEqual([1, 1000]);
    expect(page.said).toEqual([{ action: "drawn" }, { action: "drawn" }]);
    await settled();
    view.close();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  it("give way to the weights as they are when the training is over", async () => {
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    frame(view, { total: 3 }, { a: 1, b: 5 });
    await vi.advanceTimersByTimeAsync(20);
    await page.set({ ...BEGUN, running: false, total: 9 });
    expect(mean(view, "a")).toBe(1);
    const fresh = new Map([["a", { mean: 7 } as never]]);
    view.replace(fresh);
    expect(view.histogram("a", fresh)?.mean).toBe(7);
    expect(mean(view, "b")).toBe(5);
    view.close();
  });

  it("are none of what else the kernel sends", () => {
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    for (const message of [null, "text", {}, { id: "x", ok: {} }]) expect(() => view.receive(message, [])).not.toThrow();
    view.close();
  });
});

describe("the curve", () => {
  it("has its past from the kernel where a page comes late", async () => {
    const page = new Page({ ...BEGUN, total: 9, metrics: { loss: 1 } });
    page.losses = { total: 8, values: [3, 2, 1.5] };
    const view = new TrainingView(page.host, page.kernel);
    await settled();
    expect(view.curve.value.values).toEqual([3, 2, 1.5]);
    frame(view, { total: 10, metrics: { loss: 1 } }, {});
    expect(view.curve.value.values).toEqual([3, 2, 1.5, 1]);
    view.close();
  });
});

describe("an alert", () => {
  it("is taken away by who has read it, until the next training", async () => {
    const page = new Page({ ...BEGUN, alerts: ["NaN in a", "NaN in b"] });
    const view = new TrainingView(page.host, page.kernel);
    view.dismiss("NaN in a");
    expect(view.alerts.value).toEqual(["NaN in b"]);
    await page.set({ ...BEGUN, running: false, alerts: ["NaN in a", "NaN in b"] });
    expect(view.alerts.value).toEqual(["NaN in b"]);
    await page.set({ ...BEGUN, alerts: ["NaN in a"] });
    expect(view.alerts.value).toEqual(["NaN in a"]);
    view.close();
  });
});

describe("silence", () => {
  it("makes the kernel be asked, for an interrupt ends a training without a word", async () => {
    const page = new Page(BEGUN);
    const view = new TrainingView(page.host, page.kernel);
    await vi.advanceTimersByTimeAsync(1900);
    frame(view, {}, { a: 1 });
    await vi.advanceTimersByTimeAsync(1900);
    const pings = () => page.said.filter((word) => "query" in word && word.query === "ping").length;
    expect(pings()).toBe(0);
    await vi.advanceTimersByTimeAsync(4000);
    expect(pings()).toBeGreaterThan(0);
    await page.set({ ...BEGUN, running: false });
    const before = pings();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(pings()).toBe(before);
    view.close();
  });
});

describe("a step of the past", () => {
  it("is shown once the slider rests, and rows that come into view with it", async () => {
    const page = new Page({ ...BEGUN, running: false, total: 50 });
    page.steps = (step) => step - 1;
    const view = new TrainingView(page.host, page.kernel);
    view.view(["a"]);
    view.scrub(10);
    view.scrub(20);
    await rested();
    expect(page.asked).toEqual([{ paths: ["a"], step: 20 }]);
    expect([mean(view, "a"), view.found.value]).toEqual([19, 19]);
    view.view(["b"]);
    await settled();
    expect(mean(view, "b")).toBe(19);
    view.scrub(null);
    expect([mean(view, "b"), view.found.value]).toEqual([undefined, null]);
    view.close();
  });

  it("stays while frames come, and ends with another training", async () => {
    const page = new Page({ ...BEGUN, total: 50 });
    const view = new TrainingView(page.host, page.kernel);
    view.view(["a"]);
    view.scrub(10);
    await rested();
    frame(view, { total: 51 }, { a: 99 });
    await vi.advanceTimersByTimeAsync(20);
    expect(mean(view, "a")).toBe(10);
    await page.set({ ...BEGUN, running: false, total: 60 });
    expect(view.wanted.value).toBe(10);
    await page.set(BEGUN);
    expect([view.wanted.value, mean(view, "a")]).toEqual([null, 99]);
    view.close();
  });
});
