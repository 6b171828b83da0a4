import { signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Disconnected, Refusal } from "../src/client";
import type { Store } from "../src/store";
import { usePatientAnswer } from "../src/useAnswer";

/** A kernel that takes its time: as many milliseconds as `takes` says when it is asked. */
function setUp(takes = 0) {
  const kernel = { asked: 0, takes, problem: null as Error | null };
  const revision = signal(0);
  const dead = signal(false);
  const store = {
    revision,
    dead,
    ask: () => {
      const number = ++kernel.asked;
      return new Promise((resolve, reject) => {
        setTimeout(() => (kernel.problem ? reject(kernel.problem) : resolve(number)), kernel.takes);
      });
    },
  } as unknown as Store;
  let shown = { answer: null as unknown, old: false, again: () => {} };
  function View() {
    shown = usePatientAnswer<number>(store, { query: "diff" });
    return null;
  }
  const page = document.createElement("div");
  void act(() => render(<View />, page));
  return {
    kernel,
    store,
    shown: () => shown,
    change: () =>
      act(() => {
        revision.value += 1;
      }),
    lose: (lost: boolean) =>
      act(() => {
        dead.value = lost;
      }),
    again: () => act(() => shown.again()),
    pass: (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms).then(() => undefined)),
    leave: () => act(() => { render(null, page); }),
  };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("an answer", () => {
  it("is fetched anew with each change of the model, and stays until the next is there", async () => {
    const { kernel, shown, change, pass } = setUp();
    await pass(0);
    expect(shown()).toMatchObject({ answer: 1, old: false });
    kernel.takes = 100;
    await change();
    await pass(50);
    expect(shown()).toMatchObject({ answer: 1, old: false });
    await pass(50);
    expect(shown()).toMatchObject({ answer: 2, old: false });
  });

  it("is fetched once for many changes that come while the kernel works", async () => {
    const { kernel, shown, change, pass } = setUp(100);
    for (let i = 0; i < 5; i++) await change();
    await pass(1000);
    expect(kernel.asked).toBe(2);
    expect(shown()).toMatchObject({ answer: 2, old: false });
  });

  it("that took long is fetched again only when that is asked for", async () => {
    const { kernel, shown, change, again, pass } = setUp(5000);
    await pass(5000);
    expect(shown()).toMatchObject({ answer: 1, old: false });
    await change();
    await pass(60_000);
    expect(kernel.asked).toBe(1);
    expect(shown()).toMatchObject({ answer: 1, old: true });
    await again();
    await pass(4999);
    expect(shown()).toMatchObject({ answer: 1, old: true });
    await pass(1);
    expect(shown()).toMatchObject({ answer: 2, old: false });
  });

  it("that takes long is shown, though the model changes all the while", async () => {
    const { kernel, shown, change, pass } = setUp(5000);
    for (let i = 0; i < 8; i++) {
      await change();
      await pass(1500);
    }
    await pass(20_000);
    expect(shown().answer).not.toBeNull();
    expect(shown().old).toBe(true);
    expect(kernel.asked).toBeLessThanOrEqual(2);
  });

  it("may be a refusal; without a kernel there is none", async () => {
    const { kernel, shown, change, pass } = setUp();
    await pass(0);
    kernel.problem = new Error("gone");
    await change();
    await pass(0);
    expect(shown().answer).toBe(1);
    kernel.problem = new Refusal({ type: "EditError", message: "no" });
    await change();
    await pass(0);
    expect(shown().answer).toBe(kernel.problem);
  });

  it("that the kernel never gave is asked for when it is back", async () => {
    const { kernel, shown, lose, pass } = setUp(2000);
    kernel.problem = new Disconnected();
    await pass(1000);
    await lose(true);
    await pass(1000);
    expect(shown().answer).toBeNull();
    kernel.problem = null;
    await lose(false);
    await pass(2000);
    expect(shown()).toMatchObject({ answer: 2, old: false });
  });

  it("is not waited for by what is gone", async () => {
    const { kernel, change, pass, leave } = setUp(100);
    await change();
    await leave();
    await pass(1000);
    expect(kernel.asked).toBe(1);
  });
});
