// The state of one view, and everything a person can ask for. The kernel owns the model; this holds
// what it said last, what was asked for and not yet confirmed, and how the view is arranged.
import { batch, computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { count, plural } from "../../shared/src/format";
import { withGhosts } from "../../shared/src/ghosts";
import { decodeHistograms, type Histogram } from "../../shared/src/histogram";
import type {
  Action,
  Done,
  Edit,
  Info,
  Layer,
  Mismatch,
  PaletteEntry,
  Plan,
  Question,
  Removed,
  Row,
  WeightsRule,
  Word,
} from "../../shared/src/protocol";
import { aroundPath, hasFlag, patchRows, pathRange, renamedPaths, scoredRows, scoreRange, shownRows } from "../../shared/src/rows";
import { Client, Disconnected, Refusal, type Reply } from "./client";
import { Foresight } from "./foresight";
import { followTraits, type Host, isCommLive, type Part } from "./host";
import { LaneView } from "./laneView";
import { Places, usualHeight } from "./place";
import { TrainingView } from "./training";

/** Rows whose histograms travel in one message. */
const BATCH = 64;
/** A kernel that was heard or asked this recently is not asked again whether it is there. */
const FRESH_MS = 5000;

/** A flag that was asked for and is not confirmed. Each click makes its own. */
interface Asked {
  value: boolean;
}

/** A question or an error that belongs to a row and is shown beside it. */
export interface RowNote {
  path: string;
  refusal: Refusal;
  edit: Edit;
}

/** How an edit that was refused is to be done. */
export type Retried = { keep: number } | { on_mismatch: Mismatch };

/** What the palette was opened for. */
export interface PaletteTask {
  kind: "insert-before" | "insert-after" | "replace";
  path: string;
  /** Where it goes after each of several. */
  paths?: string[];
}

/** Layers whose channels are to be pruned; the first is the one that was asked for it. */
export interface PruneTask {
  kind: "prune";
  path: string;
  paths?: string[];
}

/** What a host may have its user set for all views. */
export interface ViewOptions {
  /** Of the histograms beside the layers. */
  bins: ReadonlySignal<number>;
  /** Whether weights are shown as they move while a model trains. */
  live: ReadonlySignal<boolean>;
}

export const USUAL: ViewOptions = { bins: signal(32), live: signal(true) };

export class Store {
  readonly host: Host;
  /** Who is asked, in words. */
  readonly answers: string;
  /** Which of the widgets this is a view of, and whether that is one to change the model with. */
  readonly part: Part;
  readonly acts: boolean;

  readonly rows = signal<readonly Row[]>([]);
  readonly info = signal<Info | null>(null);
  readonly revision = signal(-1);
  /** What was found of some layers, if anything: what it is, and from where to where it goes. */
  readonly scores = signal<{ label: string; range: [number, number] } | null>(null);

  readonly filter = signal("");
  readonly selected = signal<readonly string[]>([]);
  readonly unfolded = signal<ReadonlySet<string>>(new Set());
  /** The row that the keyboard is on. */
  readonly active = signal<string | null>(null);
  /** A row that is to take the focus. */
  readonly focusWanted = signal<string | null>(null);
  /** The row whose details are shown, and how much taller it is by them. */
  readonly opened = signal<string | null>(null);
  readonly openedExtra = signal(0);
  /** Whether the list is scrolled fast. */
  readonly rushing = signal(false);
  /** The room that the page has for the list, in pixels, where it does not scroll itself. */
  readonly room = signal<number | null>(null);
  readonly #height = signal(usualHeight());
  /** How high the list gets before it scrolls, but for what is open in it. */
  readonly maxHeight = computed(() => this.room.value ?? this.#height.value);
  readonly renaming = signal<string | null>(null);
  readonly menu = signal<string | null>(null);
  /** Where it opens, in pixels from the row's start; null: at its end. */
  readonly menuAt = signal<number | null>(null);
  readonly note = signal<RowNote | null>(null);
  readonly dialog = signal<PaletteTask | PruneTask | null>(null);
  readonly asked = signal<ReadonlyMap<string, Asked>>(new Map());

  readonly report = signal<readonly string[]>([]);
  readonly problem = signal<Refusal | null>(null);
  /** How many changes wait for a kernel that has not answered for a while; null: none does. */
  readonly waiting = signal<number | null>(null);
  readonly dead = signal(false);

  readonly histograms = signal<ReadonlyMap<string, Histogram>>(new Map());
  readonly paletteEntries = signal<readonly PaletteEntry[] | null>(null);
  readonly training: TrainingView;
  readonly foresight = new Foresight((edit) => this.preview(edit));

  /** Whether layers of the source that are gone are shown too, and those, as the kernel told them last. */
  readonly showsRemoved = signal(false);
  readonly #removed = signal<readonly Removed[]>([]);
  /** A row that was renamed goes on being shown, whatever the filter finds, until there is another. */
  readonly #kept = signal<string | null>(null);

  readonly shown = computed(() => {
    const [rows, filter, unfolded] = [this.rows.value, this.filter.value, this.unfolded.value];
    return withGhosts(rows, shownRows(rows, filter, unfolded, this.#kept.value), this.#removed.value, filter, unfolded);
  });
  readonly layersShown = computed(() => this.shown.value.filter((row) => row.kind !== "ghost"));
  readonly places = computed(() => {
    const opened = this.shown.value.findIndex((row) => row.path === this.opened.value);
    return new Places(this.shown.value.length, opened, opened < 0 ? 0 : this.openedExtra.value, this.maxHeight.value);
  });
  readonly lanes = new LaneView(this);
  readonly selectedSet = computed(() => new Set(this.selected.value));
  /** The selected rows among those that the list shows. */
  readonly chosen = computed(() => this.shown.value.filter((row) => this.selectedSet.value.has(row.path)));
  /** What there is to take out of them: inputs stay. */
  readonly removable = computed(() => this.chosen.value.filter((row) => row.kind !== "input").map((row) => row.path));
  /** A single selected row has its own switch; two or more stand in for what the filter shows. */
  readonly bulk = computed(() => {
    const chosen = this.chosen.value;
    const fromSelection = chosen.length > 1;
    const rows = (fromSelection ? chosen : this.shown.value).filter(hasFlag);
    // As one would write it, however many there are. The rows of other parts may be those of some layers only.
    const every = this.part === "editor" && !fromSelection && this.filter.value.trim() === "";
    return { rows, targets: every ? ["**"] : rows.map((row) => row.path), selected: fromSelection ? chosen.length : 0 };
  });
  readonly canEdit = computed(() => this.part === "editor" && !this.dead.value && this.info.value?.editable === true);

  readonly #client: Client;
  #bins = USUAL.bins.peek();
  readonly #stops: (() => void)[] = [];
  readonly #histogramRevision = new Map<string, number>();
  #histogramsUnderWay = false;
  #inView: readonly string[] = [];
  #anchor: string | null = null;
  #doing = 0;
  #heard = 0;
  #checked = 0;
  #viewTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: Host, options = USUAL) {
    this.host = host;
    this.answers = host.answers ?? "the kernel";
    this.part = host.get("part") ?? "editor";
    this.acts = !["layers", "histograms"].includes(this.part);
    this.#client = new Client(
      (message) => host.send(message),
      (changes) => (this.waiting.value = changes),
    );
    const kernel = {
      tell: (word: Word) => {
        if (!this.dead.peek()) this.#client.tell(word);
      },
      ask: <T>(question: Question) => this.#client.ask<T>(question),
    };
    this.training = new TrainingView(host, kernel, options.live);
    this.#stops.push(followTraits(host, ["revision", "info", "snapshot", "patch", "scores", "alive"], () => this.#readModel()));
    this.#stops.push(followTraits(host, ["selected", "filter", "height"], () => this.#readView()));

    const onMessage = (message: unknown, buffers: Parameters<Client["receive"]>[1]) => {
      this.#heard = Date.now();
      this.#client.receive(message, buffers);
      this.training.receive(message, buffers);
    };
    host.on("msg:custom", onMessage);
    const onComm = () => void this.#commChanged();
    host.on("comm_live_update", onComm);
    const onPageHide = () => this.#client.tell({ action: "leave" });
    window.addEventListener("pagehide", onPageHide);
    this.#stops.push(() => {
      host.off("msg:custom", onMessage);
      host.off("comm_live_update", onComm);
      window.removeEventListener("pagehide", onPageHide);
    });

    this.#stops.push(
      effect(() => {
        if (this.revision.value >= 0) this.foresight.dismiss();
      }),
    );
    this.#stops.push(
      effect(() => {
        if (this.revision.value >= 0 && !this.dead.value) this.#fetchHistograms();
      }),
    );
    this.#stops.push(
      effect(() => {
        if (!this.showsRemoved.value) this.#removed.value = [];
        else if (this.revision.value >= 0 && !this.dead.value) void this.#fetchRemoved();
      }),
    );
    this.#stops.push(
      effect(() => {
        this.#bins = options.bins.value;
        if (this.training.running.value) return;
        this.#histogramRevision.clear(); // What was trained is another, though of the same revision.
        this.#fetchHistograms();
      }),
    );

    void this.#meet();
  }

  close(): void {
    clearTimeout(this.#viewTimer);
    this.training.close();
    this.lanes.close();
    for (const stop of this.#stops) stop();
    this.#client.disconnect();
    this.#client.tell({ action: "leave" });
  }

  // What the kernel says

  #readModel(): void {
    batch(() => {
      const scores = this.host.get("scores") ?? {};
      const rows = patchRows(this.host.get("snapshot") ?? [], this.host.get("patch") ?? []);
      this.#follow(renamedPaths(this.rows.value, rows));
      this.rows.value = scoredRows(rows, scores);
      this.scores.value = scores.label === undefined ? null : { label: scores.label, range: scoreRange(scores) };
      this.info.value = this.host.get("info") ?? null;
      this.revision.value = this.host.get("revision") ?? -1;
      if (this.#doing === 0) this.#tellGone(this.#closeGone());
    });
  }

  /** Rows that were renamed stay open, unfolded and selected under their new paths. */
  #follow(renamed: ReadonlyMap<string, string>): void {
    if (renamed.size === 0) return;
    const follow = (path: string) => renamed.get(path) ?? path;
    const { active, dialog, note } = this;
    if (active.value !== null && renamed.has(active.value)) this.#kept.value = follow(active.value);
    this.unfolded.value = new Set([...this.unfolded.value].map(follow));
    for (const one of [active, this.opened, this.menu, this.renaming, this.focusWanted]) {
      if (one.value !== null) one.value = follow(one.value);
    }
    if (this.#anchor !== null) this.#anchor = follow(this.#anchor);
    if (note.value && renamed.has(note.value.path)) note.value = null; // Its edit is of the old path.
    if (dialog.value) {
      const { path, paths } = dialog.value;
      dialog.value = { ...dialog.value, path: follow(path), ...(paths && { paths: paths.map(follow) }) };
    }
    if (this.selected.value.some((path) => renamed.has(path))) {
      this.selected.value = this.selected.value.map(follow);
      this.#writeView();
    }
  }

  /** Closes what is open for rows that are no longer there; their paths. */
  #closeGone(): ReadonlySet<string> {
    const there = new Set(this.rows.value.map((row) => row.path));
    const gone = new Set<string>();
    const isGone = (path: string | null | undefined) => path != null && !there.has(path) && gone.add(path);
    batch(() => {
      for (const open of [this.opened, this.menu, this.renaming]) if (isGone(open.value)) open.value = null;
      if (isGone(this.note.value?.path)) this.note.value = null;
      const { dialog } = this;
      if ((dialog.value?.paths ?? [dialog.value?.path]).some(isGone)) dialog.value = null;
      // Else a row that comes back by an undo would be selected, where another one has the focus.
      const left = this.selected.value.filter((path) => there.has(path));
      if (left.length < this.selected.value.length) {
        this.selected.value = left;
        this.#writeView();
      }
    });
    return gone;
  }

  /** Somebody else took them out. */
  #tellGone(paths: ReadonlySet<string>): void {
    const [path] = paths;
    const more = paths.size > 1 ? ` (and ${plural(paths.size - 1, "other layer")})` : "";
    if (path !== undefined) this.report.value = [`'${path}'${more} is gone: what was open for it is closed.`];
  }

  #readView(): void {
    batch(() => {
      // What was typed or selected here is newer than what comes back from the kernel.
      if (this.#viewTimer === undefined) {
        this.filter.value = this.host.get("filter") ?? "";
        this.selected.value = this.host.get("selected") ?? [];
      }
      this.#height.value = this.host.get("height") ?? usualHeight();
    });
  }

  /** At the start nobody knows whether a kernel stands behind the state that the page holds. */
  async #meet(): Promise<void> {
    const answer = this.#ping();
    if ((await isCommLive(this.host)) === false && this.#heard === 0) this.#lose();
    await answer;
  }

  /** The channel was closed, or reopened; only an answer proves the latter. */
  async #commChanged(): Promise<void> {
    if ((await isCommLive(this.host)) !== true) this.#lose();
    await this.#ping();
  }

  /** Called when somebody turns to the widget: a closed channel is noticed before a click is lost. */
  checkKernel(): void {
    const now = Date.now();
    if (this.dead.value || now - Math.max(this.#heard, this.#checked) < FRESH_MS) return;
    this.#checked = now;
    void this.#ping();
  }

  async #ping(): Promise<void> {
    try {
      const { ok } = await this.#client.ask<{ alive: string }>({ query: "ping" });
      this.dead.value = ok.alive !== this.host.get("alive");
      this.training.watch();
    } catch (error) {
      if (error instanceof Disconnected) this.#lose();
    }
  }

  #lose(): void {
    if (this.dead.value) return;
    batch(() => {
      this.dead.value = true;
      this.asked.value = new Map();
      this.dialog.value = null;
      this.menu.value = null;
      this.renaming.value = null;
      this.note.value = null;
      this.foresight.dismiss();
    });
    this.#histogramRevision.clear();
    this.#client.disconnect();
  }

  async ask<T>(question: Question): Promise<T> {
    return (await this.request<T>(question)).ok;
  }

  /** The answer with its buffers. */
  async request<T>(question: Question): Promise<Reply<T>> {
    try {
      return await this.#client.ask<T>(question);
    } catch (error) {
      if (error instanceof Disconnected) this.#lose();
      throw error;
    }
  }

  // Changes of the model

  /** Applies an edit, and returns when the rows show it, or when it is put off. Throws what the kernel refuses. */
  async apply(action: Action): Promise<Done> {
    batch(() => {
      this.foresight.dismiss();
      this.note.value = null;
      this.problem.value = null;
      this.report.value = [];
    });
    this.#doing++;
    try {
      const done = await this.#client.act(action, this.revision.value);
      if (done.waits) {
        this.report.value = ["Will be made when the training has ended."];
      } else {
        await this.#arrival(done.revision);
        this.report.value = [...this.#tell(action), ...(done.report ?? [])];
      }
      return done;
    } catch (error) {
      if (error instanceof Disconnected) this.#lose();
      throw error;
    } finally {
      this.#doing--;
      setTimeout(() => this.#closeGone()); // Whoever asked for it goes first, and closes what it has open.
    }
  }

  /** What was just done, by the name that the kernel gives to the step. */
  #tell(action: Action): string[] {
    const info = this.info.value;
    const undone = "action" in action && action.action === "undo";
    if ("action" in action && action.n > 1) return [`${undone ? "Undone" : "Made again"}: ${count(action.n)} steps`];
    const label = undone ? info?.redo_label : info?.undo_label;
    return label ? [undone ? `Undone: ${label}` : `Done: ${label}`] : [];
  }

  /** The answer to an edit may come before or after the rows that show it. */
  #arrival(revision: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = effect(() => {
        if (this.dead.value) reject(new Disconnected());
        else if (this.revision.value >= revision) resolve();
        else return;
        queueMicrotask(() => stop());
      });
    });
  }

  /** Applies an edit of a row; a refusal is shown beside it. Whether it was applied. */
  async edit(edit: Edit, path: string | null): Promise<boolean> {
    try {
      return !(await this.apply({ edit })).waits;
    } catch (error) {
      if (error instanceof Refusal) {
        if (path !== null && error.type !== "StaleRevision") this.note.value = { path, refusal: error, edit };
        else this.problem.value = error;
      }
      return false;
    }
  }

  async step(action: "undo" | "redo", n = 1): Promise<void> {
    const { value: info } = this.info;
    if (!(action === "undo" ? info?.can_undo : info?.can_redo) || this.dead.value) return;
    try {
      await this.apply({ action, n });
    } catch (error) {
      if (error instanceof Refusal) this.problem.value = error;
    }
  }

  /** Goes to where the history was after so many steps. */
  stepTo(number: number): void {
    const n = (this.info.value?.done ?? 0) - number;
    if (n !== 0) void this.step(n > 0 ? "undo" : "redo", Math.abs(n));
  }

  /** Rows that have a flag get another; `targets` name them to the kernel. */
  async setTrainable(rows: readonly Row[], value: boolean, targets = rows.map((row) => row.path)): Promise<void> {
    const only = rows.length === 1 ? (rows[0]?.path ?? null) : null;
    if (rows.length === 0 || this.dead.value || !this.acts) return;
    const flag: Asked = { value };
    this.asked.value = new Map([...this.asked.value, ...rows.map((row) => [row.path, flag] as const)]);
    await this.edit({ edit: value ? "unfreeze" : "freeze", targets }, only);
    // A later click on one of these switches has put its own flag there, which stays.
    this.asked.value = new Map([...this.asked.value].filter(([, current]) => current !== flag));
  }

  toggle(row: Row, rows: readonly Row[] = [row]): void {
    if (!hasFlag(row)) return;
    void this.setTrainable(rows, !(this.asked.value.get(row.path)?.value ?? row.trainable));
  }

  /** Of several that are selected, all follow the one. */
  toggleSelected(row: Row): void {
    const { rows, selected } = this.bulk.value;
    this.toggle(row, selected > 0 && rows.includes(row) ? rows : [row]);
  }

  /** Takes out layers as one step; a refusal is shown beside the last of them. */
  remove(paths: readonly string[]): void {
    const last = paths.at(-1);
    if (this.canEdit.value && last !== undefined) void this.edit(removal(paths), last);
  }

  async rename(row: Row, name: string): Promise<void> {
    this.renaming.value = null;
    this.focusWanted.value = row.path;
    if (!name || name === row.name) return;
    await this.edit({ edit: "rename", target: row.path, name }, row.path);
  }

  /** Does again what was refused, with the choice that the refusal asked for. */
  retry(note: RowNote, choice: Retried): void {
    if (this.dead.value) return;
    this.focusWanted.value = note.path;
    void this.edit({ ...note.edit, ...choice }, note.path);
  }

  async preview(edit: Edit): Promise<Plan> {
    return (await this.ask<{ plan: Plan }>({ preview: edit, revision: this.revision.value })).plan;
  }

  async loadPalette(): Promise<void> {
    try {
      this.paletteEntries.value = (await this.ask<{ layers: PaletteEntry[] }>({ query: "palette" })).layers;
    } catch (error) {
      if (error instanceof Refusal) {
        this.dialog.value = null;
        this.problem.value = error;
      }
    }
  }

  async #fetchRemoved(): Promise<void> {
    try {
      const { revision, rows } = await this.ask<{ revision: number; rows: Removed[] }>({ query: "removed" });
      if (this.showsRemoved.peek() && revision >= this.revision.peek()) this.#removed.value = rows;
    } catch (error) {
      if (!(error instanceof Disconnected || error instanceof Refusal)) throw error;
    }
  }

  // Histograms

  /** Says which rows are in view; what is missing or old among them is fetched. */
  view(paths: readonly string[]): void {
    this.#inView = paths;
    this.training.view(paths);
    this.#fetchHistograms();
  }

  #fetchHistograms(): void {
    const revision = this.revision.peek();
    if (this.#histogramsUnderWay || this.dead.peek()) return;
    const old = (path: string) => this.#histogramRevision.get(path) !== revision && !this.training.shows(path);
    const paths = this.#inView.filter(old).slice(0, BATCH);
    if (paths.length === 0) return;
    this.#histogramsUnderWay = true;
    // Marked before the answer: what the kernel refuses is not asked for again until something changes.
    for (const path of paths) this.#histogramRevision.set(path, revision);
    this.#client
      .ask<{ paths: string[]; bins: number }>({ query: "histograms", paths, bins: this.#bins })
      .then(({ ok, buffers: [buffer] }) => {
        if (!buffer) return;
        const fresh = decodeHistograms(ok.paths, ok.bins, buffer);
        this.histograms.value = new Map([...this.histograms.value, ...fresh]);
        this.training.replace(fresh);
      })
      .catch((error: unknown) => {
        if (error instanceof Disconnected) this.#lose();
        else if (!(error instanceof Refusal)) throw error;
      })
      .finally(() => {
        this.#histogramsUnderWay = false;
        this.#fetchHistograms();
      });
  }

  // How the view is arranged

  setFilter(text: string): void {
    this.#kept.value = null;
    this.note.value = null;
    this.filter.value = text;
    this.#writeView();
  }

  select(path: string, how: "only" | "toggle" | "extend"): void {
    if (how === "extend") {
      this.selected.value = pathRange(this.layersShown.value, this.#anchor ?? path, path);
    } else {
      this.#anchor = path;
      const rest = this.selected.value.filter((other) => other !== path);
      if (how === "only") this.selected.value = [path];
      else this.selected.value = rest.length < this.selected.value.length ? rest : [...rest, path];
    }
    this.active.value = path;
    this.#writeView();
  }

  selectAll(): void {
    this.selected.value = this.layersShown.value.map((row) => row.path);
    this.#writeView();
  }

  /** Goes to a row, whatever hides it. */
  goTo(path: string): void {
    if (!this.rows.value.some((row) => row.path === path)) return;
    batch(() => {
      this.unfolded.value = new Set([...this.unfolded.value, ...aroundPath(path).slice(0, -1)]);
      if (!this.shown.value.some((row) => row.path === path)) this.setFilter("");
      this.select(path, "only");
      this.focusWanted.value = path;
    });
  }

  clearSelection(): void {
    this.selected.value = [];
    this.#writeView();
  }

  /** Holding an arrow key or typing a word is one change for the kernel, not one a key. */
  #writeView(): void {
    clearTimeout(this.#viewTimer);
    this.#viewTimer = setTimeout(() => {
      this.host.set("filter", this.filter.value);
      this.host.set("selected", [...this.selected.value]);
      this.host.save_changes();
      this.#viewTimer = undefined;
    }, 150);
  }

  openMenu(path: string, at: number | null = null): void {
    batch(() => {
      this.menu.value = path;
      this.menuAt.value = at;
    });
  }

  toggleDetail(path: string): void {
    this.opened.value = this.opened.value === path ? null : path;
  }

  setUnfolded(path: string, open: boolean): void {
    const unfolded = new Set(this.unfolded.value);
    if (open) unfolded.add(path);
    else unfolded.delete(path);
    this.unfolded.value = unfolded;
  }
}

export function removal(paths: readonly string[]): Edit {
  const [only] = paths;
  return { edit: "remove", target: paths.length === 1 && only !== undefined ? only : [...paths] };
}

/** The edit that the palette makes of a layer. */
export function paletteEdit(task: PaletteTask, layer: Layer, weights: WeightsRule, mismatch: Mismatch): Edit {
  const block = [layer];
  const choice = mismatch === "error" ? {} : { on_mismatch: mismatch };
  switch (task.kind) {
    case "insert-before":
      return { edit: "insert", block, before: task.path, ...choice };
    case "insert-after":
      return { edit: "insert", block, after: task.paths ?? task.path, ...choice };
    case "replace":
      return { edit: "replace", target: task.path, block, weights, ...choice };
  }
}
