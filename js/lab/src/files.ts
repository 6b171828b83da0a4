// What the Jupyter server tells of model files; docs/lab.md.
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Arguments, Info, LayerDetail, Problem, Row } from "../../shared/src/protocol";

/** What a file says of itself. */
export interface FileFacts {
  format: string;
  keras_version: string | null;
  date_saved: string | null;
  compiled: boolean;
  optimizer: string | null;
  loss: string | null;
  /** Layers that hold code, which loading the model would run. */
  unsafe: string[];
  /** Classes that are not Keras's own. */
  custom: string[];
  notes: string[];
}

export interface ModelFile {
  rows: Row[];
  info: Info;
  file: FileFacts;
  /** Tells this state of the file from later ones. */
  stamp: string;
}

interface WithBuffer {
  buffer: string;
}

export type Histograms = { paths: string[]; bins: number; revision: number } & WithBuffer;
export type Detail = LayerDetail & WithBuffer;

/** The server answered, and said no. */
export class FileProblem extends Error {
  readonly type: string;

  constructor(problem: Problem) {
    super(problem.message);
    this.type = problem.type;
  }
}

function explain({ status, statusText }: Response, trans: TranslationBundle): string {
  // Of a file that is not there the server tells in words.
  return status === 404
    ? trans.__("The Jupyter server knows nothing of model files. It has to be started again after kerasedit was installed.")
    : trans.__("The Jupyter server answered %1 %2.", status, statusText);
}

/** Asks the server about one file. */
export class FileReader {
  readonly #path: string;
  readonly #settings: ServerConnection.ISettings;
  private readonly _trans: TranslationBundle;

  /** @param path as the server's contents have it */
  constructor(path: string, settings: ServerConnection.ISettings, trans: TranslationBundle) {
    this.#path = path;
    this.#settings = settings;
    this._trans = trans;
  }

  /** The same of another file. */
  at(path: string): FileReader {
    return new FileReader(path, this.#settings, this._trans);
  }

  /** Where it is, or would be, on the server's disk. */
  place(): Promise<{ path: string }> {
    return this.#ask("place", {});
  }

  model(): Promise<ModelFile> {
    return this.#ask("model", {});
  }

  histograms(stamp: string, rows: readonly number[], bins: number): Promise<Histograms> {
    return this.#ask("histograms", { stamp, rows: rows.join(","), bins: String(bins) });
  }

  detail(stamp: string, row: number, bins: number): Promise<Detail> {
    return this.#ask("detail", { stamp, row: String(row), bins: String(bins) });
  }

  arguments(stamp: string, row: number): Promise<Arguments> {
    return this.#ask("arguments", { stamp, row: String(row) });
  }

  async #ask<T>(what: string, query: Record<string, string>): Promise<T> {
    const asked = URLExt.objectToQueryString({ path: this.#path, ...query });
    const url = URLExt.join(this.#settings.baseUrl, "kerasedit", what) + asked;
    const response = await ServerConnection.makeRequest(url, {}, this.#settings);
    const told: unknown = await response.json().catch(() => null);
    if (response.ok) return told as T;
    const { type = "Error", message } = (told ?? {}) as Partial<Problem>;
    throw new FileProblem({ type, message: message ?? explain(response, this._trans) });
  }
}
