import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Edit, Plan } from "../../shared/src/protocol";
import { Refusal } from "../src/client";
import { Foresight, GRACE_MS, REST_MS } from "../src/foresight";
import { Latest } from "../src/latest";

const removal = (target: string): Edit => ({ edit: "remove", target });

/** A kernel that answers when told to. */
function setUp() {
  const asked: { edit: Edit; answer: (plan: Plan) => void; refuse: (error: Error) => void }[] = [];
  const foresight = new Foresight(
    (edit) => new Promise((answer, refuse) => asked.push({ edit, answer, refuse })),
  );
  const anchor = () => document.body.appendChild(document.createElement("button"));
  const answer = async (i: number) => {
    asked[i]?.answer({ text: `plan ${i}` } as Plan);
    await settled();
  };
  return { foresight, asked, anchor, answer };
}

const settled = () => vi.advanceTimersByTimeAsync(0);
const rest = () => vi.advanceTimersByTimeAsync(REST_MS);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("Foresight", () => {
  it("asks when the pointer rests, and shows what was answered", async () => {
    const { foresight, asked, anchor, answer } = setUp();
    const button = anchor();
    foresight.point(button, removal("a"));
    await vi.advanceTimersByTimeAsync(REST_MS - 1);
    expect(asked).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.map(({ edit }) => edit)).toEqual([removal("a")]);
    expect(foresight.shown.value).toBeNull();
    await answer(0);
    expect(foresight.shown.value).toMatchObject({ edit: removal("a"), plan: { text: "plan 0" } });
    expect(foresight.shown.value?.anchor).toBe(button);
  });

  it("asks nothing for buttons that are only crossed", async () => {
    const { foresight, asked, anchor } = setUp();
    for (const path of "abc") {
      foresight.point(anchor(), removal(path));
      await vi.advanceTimersByTimeAsync(REST_MS / 2);
      foresight.leave();
    }
    await vi.advanceTimersByTimeAsync(10 * REST_MS);
    expect(asked).toHaveLength(0);
  });

  it("asks one thing at a time, and then only the last", async () => {
    const { foresight, asked, anchor, answer } = setUp();
    for (const path of "abc") {
      foresight.point(anchor(), removal(path));
      await rest();
    }
    expect(asked.map(({ edit }) => edit)).toEqual([removal("a")]);
    await answer(0);
    expect(foresight.shown.value).toBeNull();
    expect(asked.map(({ edit }) => edit)).toEqual([removal("a"), removal("c")]);
    await answer(1);
    expect(foresight.shown.value?.edit).toEqual(removal("c"));
  });

  it("shows no answer that comes when the pointer is gone", async () => {
    const { foresight, anchor, answer } = setUp();
    foresight.point(anchor(), removal("a"));
    await rest();
    foresight.leave();
    await answer(0);
    expect(foresight.shown.value).toBeNull();
  });

  it("shows no answer for a button that is gone", async () => {
    const { foresight, anchor, answer } = setUp();
    const button = anchor();
    foresight.point(button, removal("a"));
    await rest();
    button.remove();
    await answer(0);
    expect(foresight.shown.value).toBeNull();
  });

  it("stays while the pointer goes over to what is shown, and goes when it leaves that too", async () => {
    const { foresight, anchor, answer } = setUp();
    foresight.point(anchor(), removal("a"));
    await rest();
    await answer(0);
    foresight.leave();
    await vi.advanceTimersByTimeAsync(GRACE_MS - 1);
    foresight.stay();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(foresight.shown.value).not.toBeNull();
    foresight.leave();
    await vi.advanceTimersByTimeAsync(GRACE_MS);
    expect(foresight.shown.value).toBeNull();
  });

  it("keeps what it shows of a field while more is typed into it", async () => {
    const { foresight, anchor, answer } = setUp();
    const field = anchor();
    foresight.point(field, removal("a"));
    await rest();
    await answer(0);
    foresight.point(field, removal("ab"));
    expect(foresight.shown.value?.edit).toEqual(removal("a"));
    await rest();
    await answer(1);
    expect(foresight.shown.value?.edit).toEqual(removal("ab"));
  });

  it("shows what the kernel refuses, but not that the model has changed meanwhile", async () => {
    const { foresight, asked, anchor } = setUp();
    for (const [i, type] of ["StaleRevision", "EditError"].entries()) {
      foresight.point(anchor(), removal("a"));
      await rest();
      asked[i]?.refuse(new Refusal({ type, message: "no" }));
      await settled();
    }
    expect(foresight.shown.value).toMatchObject({ plan: null, refusal: { type: "EditError" } });
    foresight.dismiss();
    expect(foresight.shown.value).toBeNull();
  });
});

describe("Latest", () => {
  it("goes on after the last of what came meanwhile", async () => {
    const done: string[] = [];
    const line = new Latest();
    const work = (name: string) => async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      done.push(name);
    };
    line.run(work("first"));
    for (const name of "xyz") line.run(work(name));
    await vi.advanceTimersByTimeAsync(20);
    line.run(work("later"));
    await vi.advanceTimersByTimeAsync(10);
    expect(done).toEqual(["first", "z", "later"]);
  });
});
