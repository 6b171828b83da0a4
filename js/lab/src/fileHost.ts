// A model file in place of a kernel: the widget's front end asks, and the server answers.
import type { Arguments, Question } from "../../shared/src/protocol";
import type { Traits } from "../../widget/src/host";
import { FileProblem, type FileReader, type ModelFile } from "./files";
import { PageHost } from "./pageHost";

type Asked = Question & { id: string };

interface Reply {
  ok: object;
  buffers: ArrayBuffer[];
}

const ALIVE = "file";

export class FileHost extends PageHost {
  readonly answers = "the server";
  readonly comm_live = true;
  readonly #reader: FileReader;
  readonly #stamp: string;
  readonly #numbers: ReadonlyMap<string, number>;

  constructor(reader: FileReader, { rows, info, stamp }: ModelFile) {
    super();
    this.#reader = reader;
    this.#stamp = stamp;
    this.#numbers = new Map(rows.map((row, number) => [row.path, number]));
    Object.assign(this.traits, {
      part: "layers",
      revision: 0,
      info,
      snapshot: rows,
      patch: [[0, rows.length]],
      alive: ALIVE,
      selected: [],
      filter: "",
    } satisfies Partial<Traits>);
  }

  save_changes(): void {
    // There is nobody who would keep them.
  }

  send(content: unknown): void {
    void this.#respond(content as Asked);
  }

  async #respond(asked: Asked): Promise<void> {
    try {
      const { ok, buffers } = await this.#answer(asked);
      this.tell("msg:custom", { id: asked.id, ok }, buffers);
    } catch (problem) {
      const type = problem instanceof FileProblem ? problem.type : "Error";
      this.tell("msg:custom", { id: asked.id, error: { type, message: (problem as Error).message } }, []);
    }
  }

  async #answer(asked: Asked): Promise<Reply> {
    if (!("query" in asked)) throw new Error("A file is looked at, and nothing of it is changed.");
    switch (asked.query) {
      case "ping":
        return { ok: { alive: ALIVE, revision: 0 }, buffers: [] };
      case "histograms": {
        const { buffer, ...ok } = await this.#reader.histograms(this.#stamp, asked.paths.map(this.#row), asked.bins);
        return { ok, buffers: [decode(buffer)] };
      }
      case "detail": {
        const { buffer, ...ok } = await this.#reader.detail(this.#stamp, this.#row(asked.path), asked.bins);
        return { ok, buffers: [decode(buffer)] };
      }
      case "arguments": {
        const ok: Arguments = await this.#reader.arguments(this.#stamp, this.#row(asked.path));
        return { ok, buffers: [] };
      }
      default:
        return { ok: {}, buffers: [] };
    }
  }

  #row = (path: string): number => {
    const number = this.#numbers.get(path);
    if (number === undefined) throw new Error(`There is no layer '${path}' in the file.`);
    return number;
  };
}

function decode(text: string): ArrayBuffer {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;
}
