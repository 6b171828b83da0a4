// What hosts differ in: JupyterLab and Notebook 7, Colab's and classic Notebook's old widgets, marimo.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Row } from "../../shared/src/protocol";
import { row } from "../../shared/test/row";
import type { Store } from "../src/store";
import { Fake, open, rowsFrom, rowsOf, settled } from "./fake";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("buffers", () => {
  const shifted = (bytes: Float32Array<ArrayBuffer>) => {
    const whole = new Uint8Array(bytes.byteLength + 8);
    whole.set(new Uint8Array(bytes.buffer), 4);
    return whole;
  };
  it.each([
    ["ArrayBuffer", (bytes: Float32Array<ArrayBuffer>) => bytes.buffer],
    ["DataView", (bytes: Float32Array<ArrayBuffer>) => new DataView(shifted(bytes).buffer, 4, bytes.byteLength)],
    ["Uint8Array", (bytes: Float32Array<ArrayBuffer>) => shifted(bytes).subarray(4, 4 + bytes.byteLength)],
  ])("may come as %s", async (_, buffer) => {
    const fake = new Fake(["a"]);
    fake.buffer = buffer;
    const store = await open(fake);
    store.view(["a"]);
    await settled();
    expect(store.histograms.value.get("a")).toMatchObject({ mean: 0.5, size: 4 });
    store.close();
  });
});

describe("whether there is a kernel", () => {
  it("is not doubted where a host can't tell and no answer has come yet", async () => {
    const fake = new Fake([]);
    fake.answers = false;
    const store = await open(fake);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(store.dead.value).toBe(false);
    expect(store.waiting.value).toBe(0);
    store.close();
  });

  it.each([
    ["the channel", { comm_live: false }],
    ["the widget manager", { widget_manager: { get_model: () => Promise.resolve({ comm_live: false }) } }],
  ])("is told by %s", async (_, more) => {
    const fake = new Fake([], more);
    fake.traits["info"] = { model_id: "m" };
    fake.answers = false;
    const store = await open(fake);
    expect(store.dead.value).toBe(true);
    store.close();
  });

  it("is told by an answer where the widget manager knows no more", async () => {
    const fake = new Fake([], { widget_manager: { get_model: () => Promise.reject(new Error("unknown")) } });
    fake.traits["info"] = { model_id: "m" };
    const store = await open(fake);
    expect(store.dead.value).toBe(false);
    store.close();
  });

  it.each([
    ["throws", () => { throw new Error("closed"); }],
    ["promises in vain", () => Promise.reject(new Error("closed"))],
  ])("is told by a message that %s", async (_, post) => {
    const fake = new Fake(["a"]);
    fake.answers = false;
    fake.post = post;
    const store = await open(fake);
    expect(store.dead.value).toBe(true);
    store.close();
    await settled();
  });

  it("is told by another `alive`", async () => {
    const fake = new Fake([]);
    fake.traits["alive"] = "another";
    const store = await open(fake);
    expect(store.dead.value).toBe(true);
    store.close();
  });
});

describe("a view that is closed", () => {
  it("listens no more, takes no listener of others away, and says that it leaves", async () => {
    const fake = new Fake(["a"]);
    const store = await open(fake);
    store.close();
    await settled();
    // Without both of them a host drops what other views listen to.
    expect(fake.offs.every(([event, listener]) => typeof event === "string" && typeof listener === "function")).toBe(true);
    expect([...fake.listeners.values()].every((some) => some.size === 0)).toBe(true);
    expect(fake.sent.at(-1)).toMatchObject({ action: "leave", place: fake.sent[0]?.place });
  });
});

describe("an update of several traits", () => {
  it("is read when all are there, where a host sets and announces them one by one", async () => {
    const fake = new Fake(["a", "b"]);
    const store = await open(fake);
    const seen: string[][] = [];
    const stop = store.rows.subscribe((rows) => seen.push(rows.map((row) => row.path)));
    await fake.update({ revision: 1, patch: [[0, 1]], snapshot: rowsOf(["c"]).snapshot });
    expect(seen).toEqual([["a", "b"], ["c"]]);
    stop();
    store.close();
  });
});

describe("a row that goes", () => {
  it("closes what is open for it, with a word where somebody else took it out", async () => {
    const fake = new Fake(["a", "b"]);
    const store = await open(fake);
    store.toggleDetail("b");
    store.dialog.value = { kind: "replace", path: "b" };
    store.menu.value = "a";
    await fake.update({ revision: 1, ...rowsOf(["a"]) });
    expect([store.opened.value, store.dialog.value, store.menu.value]).toEqual([null, null, "a"]);
    expect(store.report.value).toEqual(["'b' is gone: what was open for it is closed."]);
    store.close();
  });

  it("and has another name keeps its details open", async () => {
    const called = (name: string) => rowsFrom([row("a"), { ...row(name), id: "2" }]);
    const fake = new Fake([]);
    Object.assign(fake.traits, called("b"));
    const store = await open(fake);
    store.toggleDetail("b");
    void store.rename(store.rows.value[1] as Row, "c");
    await settled();
    await fake.update({ revision: 1, ...called("c") });
    fake.say({ id: fake.sent.find(({ edit }) => edit)?.id, ok: { revision: 1 } });
    await settled();
    expect(store.opened.value).toBe("c");
    expect(store.report.value).toEqual([]);
    store.close();
  });
});

describe("a part that stands alone", () => {
  const changes = (fake: Fake) => fake.sent.flatMap(({ edit }) => (edit ? [edit] : []));

  async function openPart(part?: string): Promise<[Fake, Store, Row]> {
    const fake = new Fake(["a"]);
    fake.traits["info"] = { editable: true };
    if (part) fake.traits["part"] = part;
    const store = await open(fake);
    return [fake, store, store.rows.value[0] as Row];
  }

  it.each(["layers", "histograms"])("and shows %s changes nothing", async (part) => {
    const [fake, store, row] = await openPart(part);
    store.toggle(row);
    store.remove(["a"]);
    await settled();
    expect(changes(fake)).toEqual([]);
    expect(store.canEdit.value).toBe(false);
    store.close();
  });

  it("and shows toggles sets flags and nothing else", async () => {
    const [fake, store, row] = await openPart("toggles");
    store.toggle(row);
    store.remove(["a"]);
    await settled();
    expect(changes(fake)).toEqual([{ edit: "freeze", targets: ["a"] }]);
    store.close();
  });

  it("is told by the kernel, which did not always do so", async () => {
    const [fake, store] = await openPart();
    expect(store.part).toBe("editor");
    store.remove(["a"]);
    await settled();
    expect(changes(fake)).toEqual([{ edit: "remove", target: "a" }]);
    store.close();
  });

  it("is as high as it is told to be", async () => {
    const fake = new Fake(Array.from({ length: 100 }, (_, n) => `d${n}`));
    const store = await open(fake);
    const usual = store.places.value.window;
    await fake.update({ height: 120 });
    expect(store.places.value.window).toBe(120);
    await fake.update({ height: null });
    expect(store.places.value.window).toBe(usual);
    store.close();
  });
});
