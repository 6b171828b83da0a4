// The part of the host's widget model that is used: the same in anywidget 0.9 to 0.11 and marimo.
import type { Binary } from "../../shared/src/histogram";
import type { Info, Patch, Row, Scores, Training } from "../../shared/src/protocol";

/** The editor, or a part of it that stands alone. */
export type Part = "editor" | "layers" | "toggles" | "histograms" | "history";

export interface Traits {
  /** Missing in a notebook that was saved when there was only the editor. */
  part: Part;
  revision: number;
  info: Info;
  snapshot: Row[];
  patch: Patch;
  /** Empty, or not there at all, in a notebook that was saved before there was any. */
  training: Partial<Training>;
  alive: string;
  selected: string[];
  filter: string;
  /** What is shown beside the layers; empty, or not there at all in an older notebook, where nothing is. */
  scores: Partial<Scores>;
  height: number | null;
  /** What a part shows: of `histograms` */
  paths: string[];
  bins: number;
  log: boolean;
  /** and of `history`. */
  steps: string[];
}

export interface Host {
  get<K extends keyof Traits>(name: K): Traits[K] | undefined;
  set<K extends keyof Traits>(name: K, value: Traits[K]): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: "msg:custom", callback: (message: unknown, buffers: Binary[]) => void): void;
  on(event: string, callback: () => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  /** Who answers, where that is no kernel: `"the server"`. */
  answers?: string;
  /** What brings a kernel back that is gone, where that is not to run the cell again. */
  revival?: string;
  /** Whether the page's own shortcuts hold inside too, as in a tab, which is no cell of a notebook. */
  shortcuts?: boolean;
  /** Saves the model where the host knows to. There is then no notebook to hand it back to. */
  saveFile?: () => void;
  comm_live?: boolean;
  widget_manager?: { get_model?(id: string): Promise<{ comm_live?: boolean }> };
}

/**
 * Whether the host says that its channel to the kernel is closed. A model restored from a saved
 * notebook has none, and drops what is sent on it without a word. Null where the host can't tell.
 */
export async function isCommLive(host: Host): Promise<boolean | null> {
  if (typeof host.comm_live === "boolean") return host.comm_live;
  const id = host.get("info")?.model_id;
  if (!id || !host.widget_manager?.get_model) return null;
  try {
    return (await host.widget_manager.get_model(id)).comm_live ?? null;
  } catch {
    return null;
  }
}

/**
 * Calls `read` now and after every update from the kernel. Traits of one update announce
 * themselves one by one, when all of them are already set: they are read together, once.
 */
export function followTraits(host: Host, names: readonly (keyof Traits)[], read: () => void): () => void {
  let scheduled = false;
  let stopped = false;
  const changed = () => {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      if (!stopped) read();
    });
  };
  for (const name of names) host.on(`change:${name}`, changed);
  read();
  return () => {
    stopped = true;
    for (const name of names) host.off(`change:${name}`, changed);
  };
}
