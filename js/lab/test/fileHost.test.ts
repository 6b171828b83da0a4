// A file in place of a kernel, seen from the widget's own store.
import { nullTranslator } from "@jupyterlab/translation";
import { afterEach, describe, expect, it } from "vitest";
import { row } from "../../shared/test/row";
import { Refusal } from "../../widget/src/client";
import { Store } from "../../widget/src/store";
import { FileHost } from "../src/fileHost";
import { FileProblem, type FileReader, type ModelFile } from "../src/files";
import { describe as inWords, notices } from "../src/FileView";

const trans = nullTranslator.load("kerasedit");
const FACTS = {
  format: ".keras",
  keras_version: "3.15.1",
  date_saved: "2026-11-21@23:50:22",
  compiled: true,
  optimizer: "Adam",
  loss: null,
  unsafe: [],
  custom: [],
  notes: [],
};
const buffer = (...values: number[]) => btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(values).buffer)));

/** What the server would say, and what it was asked. */
class Server {
  readonly asked: unknown[][] = [];
  problem: Error | null = null;

  #told<T>(asked: unknown[], answer: T): Promise<T> {
    this.asked.push(asked);
    return this.problem ? Promise.reject(this.problem) : Promise.resolve(answer);
  }

  histograms = (...asked: unknown[]) =>
    this.#told(["histograms", ...asked], { paths: ["b"], bins: 2, revision: 0, buffer: buffer(1, 2, -1, 1, 0.5, 0, 0, 0, 0, 4) });
  detail = (...asked: unknown[]) =>
    this.#told(["detail", ...asked], { path: "b", revision: 0, bins: 64, compared: false, weights: [], more: 0, buffer: "" });
  arguments = (...asked: unknown[]) =>
    this.#told(["arguments", ...asked], { class_name: "Dense", params: [], left_out: [], fixed: null });
}

let store: Store | null = null;
afterEach(() => store?.close());

function open(): { server: Server; store: Store } {
  const server = new Server();
  const rows = [row("a"), row("b")];
  const file = { rows, info: { editable: false }, file: FACTS, stamp: "s" } as unknown as ModelFile;
  store = new Store(new FileHost(server as unknown as FileReader, file));
  return { server, store };
}

const settled = () => new Promise((done) => setTimeout(done, 5));

describe("FileHost", () => {
  it("shows the rows as of a kernel that is there, and lets nothing be changed", async () => {
    const { store } = open();
    await settled();
    expect(store.rows.value.map(({ path }) => path)).toEqual(["a", "b"]);
    expect([store.dead.value, store.acts, store.canEdit.value]).toEqual([false, false, false]);
    await expect(store.apply({ edit: { edit: "remove", target: "a" } })).rejects.toThrow("nothing of it is changed");
  });

  it("asks for the histograms of rows in view, by their numbers", async () => {
    const { server, store } = open();
    store.view(["b"]);
    await settled();
    expect(server.asked).toEqual([["histograms", "s", [1], 32]]);
    expect(store.histograms.value.get("b")?.size).toBe(4);
  });

  it("passes on what the server tells of a layer", async () => {
    const { server, store } = open();
    await store.request({ query: "detail", path: "b", bins: 64 });
    await store.ask({ query: "arguments", path: "a" });
    expect(server.asked).toEqual([
      ["detail", "s", 1, 64],
      ["arguments", "s", 0],
    ]);
  });

  it("passes on what the server refuses", async () => {
    const { server, store } = open();
    server.problem = new FileProblem({ type: "ModelFileError", message: "The file has changed." });
    const refusal: unknown = await store.ask({ query: "arguments", path: "a" }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Refusal);
    expect(refusal).toMatchObject({ type: "ModelFileError", message: "The file has changed." });
    await expect(store.ask({ query: "arguments", path: "gone" })).rejects.toThrow("no layer 'gone'");
  });
});

describe("what a file says of itself", () => {
  it("is told in a line", () => {
    expect(inWords(FACTS, trans)).toBe(".keras, Keras 3.15.1, saved 2026-11-21 23:50, compiled with Adam");
    expect(inWords({ ...FACTS, keras_version: null, date_saved: null, compiled: false, optimizer: null }, trans)).toBe(
      ".keras, not compiled",
    );
  });

  it("has notices of code and of classes", () => {
    expect(notices(FACTS, true, trans)).toEqual([]);
    expect(notices(FACTS, false, trans)).toEqual([expect.stringContaining("may not be written")]);
    const many = Array.from({ length: 8 }, (_, n) => `code${n}`);
    const [note, classes, code] = notices({ ...FACTS, notes: ["A note."], custom: ["Mine"], unsafe: many }, true, trans);
    expect(note).toBe("A note.");
    expect(classes).toContain("Mine");
    expect(code).toContain("code0, code1, code2, code3, code4, code5 and 2 more");
  });
});
