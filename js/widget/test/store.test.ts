// What a view makes of what was asked for here and what comes from the kernel.
import { signal } from "@preact/signals";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Row } from "../../shared/src/protocol";
import { row } from "../../shared/test/row";
import { Disconnected, Refusal } from "../src/client";
import type { Host } from "../src/host";
import { Store, USUAL } from "../src/store";
import { Fake, open, rowsFrom, rowsOf, settled } from "./fake";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** The id of the edit that was sent last. */
const editId = (fake: Fake) => fake.sent.filter(({ edit }) => edit).at(-1)?.id;
const rowAt = (store: Store, path: string) => store.rows.value.find((one) => one.path === path) as Row;

describe("what was typed or selected here", () => {
  it("is newer than what the kernel sends before it was told", async () => {
    const fake = new Fake(["a", "b"]);
    const store = await open(fake);
    store.select("b", "only");
    store.setFilter("b");
    await fake.update({ filter: "old", selected: ["a"] });
    expect([store.filter.value, store.selected.value]).toEqual(["b", ["b"]]);
    await vi.advanceTimersByTimeAsync(200);
    expect([fake.traits["filter"], fake.traits["selected"]]).toEqual(["b", ["b"]]);
    await fake.update({ filter: "a", selected: ["a"] });
    expect([store.filter.value, store.selected.value]).toEqual(["a", ["a"]]);
    store.close();
  });
});

describe("a nested model that is renamed", () => {
  const nested = (name: string, ...more: Row[]) => {
    const rows = [row(name, "Functional", "model"), row(`${name}/d`), row("inner2")];
    return rowsFrom([...rows.map((one, n) => ({ ...one, id: n === 1 ? "0/1" : `${n}` })), ...more]);
  };

  it("stays unfolded, and what is open and selected in it stays so", async () => {
    const fake = new Fake([]);
    Object.assign(fake.traits, nested("inner"));
    const store = await open(fake);
    store.setUnfolded("inner", true);
    store.setUnfolded("inner2", true);
    store.toggleDetail("inner/d");
    store.dialog.value = { kind: "insert-after", path: "inner2", paths: ["inner2", "inner/d"] };
    store.selected.value = ["inner2", "inner/d"];
    store.active.value = "inner/d";
    // Another layer has the free name.
    await fake.update({ revision: 1, ...nested("outer", { ...row("inner/d"), id: "7" }) });
    expect([...store.unfolded.value]).toEqual(["outer", "inner2"]);
    expect([store.opened.value, store.active.value]).toEqual(["outer/d", "outer/d"]);
    expect(store.dialog.value).toEqual({ kind: "insert-after", path: "inner2", paths: ["inner2", "outer/d"] });
    expect(store.selected.value).toEqual(["inner2", "outer/d"]);
    expect(store.report.value).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    expect(fake.traits["selected"]).toEqual(["inner2", "outer/d"]);
    store.close();
  });
});

describe("a kernel that is lost", () => {
  const note = { path: "a", refusal: new Refusal({ type: "EditError", message: "no" }), edit: { edit: "remove", target: "a" } } as const;

  it("takes with it what was asked, and what would be done", async () => {
    const fake = new Fake(["a"], { comm_live: true });
    const store = await open(fake);
    store.note.value = note;
    store.foresight.shown.value = { anchor: document.body, edit: note.edit, plan: null, refusal: note.refusal };
    Object.assign(fake, { comm_live: false, answers: false });
    fake.listeners.get("comm_live_update")?.forEach((listener) => listener());
    await settled();
    expect([store.dead.value, store.note.value, store.foresight.shown.value]).toEqual([true, null, null]);
    store.retry(note, { keep: 0 });
    await settled();
    expect(editId(fake)).toBeUndefined();
    store.close();
  });

  it("ends the wait for rows that show an edit", async () => {
    const fake = new Fake(["a"]);
    const store = await open(fake);
    const done = store.apply({ edit: note.edit });
    const failed = expect(done).rejects.toBeInstanceOf(Disconnected);
    await settled();
    fake.say({ id: editId(fake), ok: { revision: 1 } });
    await settled();
    store.dead.value = true;
    await failed;
    store.close();
  });
});

describe("an edit that is put off until a training has ended", () => {
  it("is told as such, and nothing waits for it", async () => {
    const fake = new Fake(["a", "b"]);
    fake.traits["info"] = { undo_label: "an older step" };
    const store = await open(fake);
    store.toggleDetail("b");
    const renamed = store.rename(rowAt(store, "b"), "c");
    await settled();
    fake.say({ id: editId(fake), ok: { revision: 0, waits: true, report: [] } });
    await renamed;
    expect(store.report.value).toEqual(["Will be made when the training has ended."]);
    expect(store.opened.value).toBe("b");
    // It comes with the rows like an edit that was made in Python.
    await fake.update({ revision: 1, ...rowsOf(["a", "c"]) });
    expect(store.opened.value).toBeNull();
    store.close();
  });
});

describe("questions for histograms", () => {
  it("say nothing of how they are drawn", async () => {
    const fake = new Fake(["a"]);
    const store = await open(fake);
    store.view(["a"]);
    await settled();
    expect(fake.sent.find(({ query }) => query === "histograms")).not.toHaveProperty("log");
    store.close();
  });
});

describe("the number of bins", () => {
  it("is the host's, and what is in view is fetched anew with another", async () => {
    const [fake, bins] = [new Fake(["a"]), signal(16)];
    const store = new Store(fake as unknown as Host, { ...USUAL, bins });
    store.view(["a"]);
    await settled();
    bins.value = 48;
    await settled();
    expect(fake.sent.filter(({ query }) => query === "histograms")).toMatchObject([{ bins: 16 }, { bins: 48 }]);
    store.close();
  });
});
