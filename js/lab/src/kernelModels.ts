// The Keras models of one kernel, followed as its variables come, change and go.
import { effect, signal } from "@preact/signals";
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { ask, askWhereKerasIs, isLost, KernelProblem, Unanswered } from "./ask";

/** How long a kernel has to rest before it is asked: of many cells in a row only the last counts. */
const REST_MS = 100;
/** How long after a message of a widget, which may have handed a model back. */
const WIDGET_REST_MS = 500;
/** What is over sooner is not told as busy, such as the questions themselves. */
const BUSY_MS = 400;

/** A variable that holds a model or an editor; docs/lab.md. */
export interface ModelRow {
  variable: string;
  /** Tells what the variable holds from what it may hold later. */
  number: number;
  kind: "model" | "editor";
  class_name: string;
  name: string;
  params: number | null;
  trainable: number | null;
  compiled: boolean;
  /** Whether the structure can be edited, only flags and weights, or nothing yet. */
  structure: "graph" | "code" | "unbuilt";
  /** Whether an editor made it. */
  copy: boolean;
  /** Of an editor, how many edits it has. */
  edits: number;
  /** Edits that are in no variable: of an editor, or of one that only a cell or a tab has. */
  unhanded: number;
  /** The variable that holds what an editor made. */
  handed: string | null;
  /** A variable for the copy; null where there is none to be handed back. */
  proposed: string | null;
  /** The variable before it that holds the same. */
  same_as: string | null;
}

/** A tensor: name, shape, dtype. */
export type Tensor = [name: string, shape: string, dtype: string];

/** A model at a glance. */
export interface ModelFacts {
  inputs: Tensor[];
  outputs: Tensor[];
  layers: [class_name: string, count: number][];
  bytes: number | null;
  dtype: string;
  optimizer: string | null;
  learning_rate: number | null;
  loss: string | null;
}

/** What the widget's message `hand_back` is answered. */
export interface HandedBack {
  ok?: { name: string };
  error?: { type: string; message: string; hint: string };
}

/** What is known of a kernel. */
export type Known =
  | { is: "nothing" }
  | { is: "another language"; language: string }
  | { is: "no Keras" }
  | { is: "no kerasedit" }
  | { is: "problem"; message: string }
  | { is: "models"; models: readonly ModelRow[]; more: number };

const NOTHING: Known = { is: "nothing" };

export class KernelModels {
  static readonly #all = new Set<KernelModels>();

  readonly kernel: Kernel.IKernelConnection;
  readonly known = signal<Known>(NOTHING);
  /** Whether the kernel has had something else to do for a while. */
  readonly busy = signal(false);
  readonly dead = signal(false);

  #shown = false;
  #follows = true;
  /** Whether something may have changed since the last question. */
  #stale = true;
  readonly #asking = signal(false);
  /** The cells that run. The kernel's status is not enough: widgets have it idle in between. */
  readonly #running = new Set<string>();
  #rest: ReturnType<typeof setTimeout> | undefined;
  #widgetRest: ReturnType<typeof setTimeout> | undefined;
  #busyTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(kernel: Kernel.IKernelConnection) {
    this.kernel = kernel;
    kernel.statusChanged.connect(this.#onStatus);
    kernel.connectionStatusChanged.connect(this.#onConnection);
    kernel.iopubMessage.connect(this.#onMessage);
    KernelModels.#all.add(this);
    this.#tellStatus();
  }

  dispose(): void {
    for (const timer of [this.#rest, this.#widgetRest, this.#busyTimer]) clearTimeout(timer);
    this.#shown = false;
    KernelModels.#all.delete(this);
    this.kernel.statusChanged.disconnect(this.#onStatus);
    this.kernel.connectionStatusChanged.disconnect(this.#onConnection);
    this.kernel.iopubMessage.disconnect(this.#onMessage);
  }

  /** Nothing is asked while nobody looks. */
  setShown(shown: boolean): void {
    this.#shown = shown;
    this.#look();
  }

  /** Whether it is asked again without being told to. */
  setFollows(follows: boolean): void {
    this.#follows = follows;
    if (follows) this.refresh();
  }

  /** Asks as soon as the kernel is free. */
  refresh(): void {
    this.#stale = true;
    this.#look();
  }

  /** What is so now, or was before what the kernel is busy with. */
  async latest(): Promise<Known> {
    if (this.#free && !this.#asking.peek()) void this.#ask();
    // Behind a cell that was there before the page the answer may take as long as that.
    await until(() => !this.#asking.value || (this.busy.value && this.kernel.status === "unknown"));
    return this.known.peek();
  }

  inspect({ variable, number }: ModelRow): Promise<ModelFacts> {
    return ask(this.kernel, "tell_model", { variable, number });
  }

  async handBack({ variable, number }: ModelRow, name: string, overwrite: boolean): Promise<HandedBack> {
    const answer = await ask<HandedBack>(this.kernel, "hand_back", { variable, number, name, overwrite });
    // Nothing that the kernel says tells others on it of this.
    for (const models of KernelModels.#all) if (models.kernel.id === this.kernel.id) models.refresh();
    return answer;
  }

  #onStatus = (): void => {
    this.#tellStatus();
    this.#look();
  };

  /** What was said in between was not heard. */
  #onConnection = (): void => {
    this.#running.clear();
    this.refresh();
  };

  #tellStatus(): void {
    const { status } = this.kernel;
    if (isLost(status) || status === "starting") {
      this.#running.clear();
      this.#stale = true;
      this.known.value = NOTHING;
    }
    this.dead.value = status === "dead";
    this.#tellBusy();
  }

  /** A new connection does not know its kernel's status before it has asked for something. */
  get #free(): boolean {
    const { status, connectionStatus } = this.kernel;
    return (status === "idle" || (status === "unknown" && connectionStatus === "connected")) && this.#running.size === 0;
  }

  /** A page that was loaded amid a cell knows of it only by an answer that does not come. */
  #tellBusy(): void {
    if ((this.#free && !this.#asking.peek()) || this.dead.value) {
      clearTimeout(this.#busyTimer);
      this.#busyTimer = undefined;
      this.busy.value = false;
    } else {
      this.#busyTimer ??= setTimeout(() => (this.busy.value = true), BUSY_MS);
    }
  }

  #onMessage = (_: unknown, message: KernelMessage.IIOPubMessage): void => {
    const { parent_header: parent, header } = message;
    if (!("msg_id" in parent)) return;
    // Only what is run for everybody to see has this message: no question, neither ours nor another's.
    if (header.msg_type === "execute_input") this.#running.add(parent.msg_id);
    if (header.msg_type !== "status" || (message as KernelMessage.IStatusMsg).content.execution_state !== "idle") return;
    if (this.#running.delete(parent.msg_id)) {
      this.#changed();
      this.#tellBusy();
    } else if (parent.msg_type === "comm_msg") {
      this.#widgetRest ??= setTimeout(() => {
        this.#widgetRest = undefined;
        this.#changed();
      }, WIDGET_REST_MS);
    }
  };

  #changed(): void {
    if (this.#follows) this.refresh();
  }

  #look(): void {
    if (!this.#due) return;
    this.#rest ??= setTimeout(() => {
      this.#rest = undefined;
      if (this.#due) void this.#ask();
    }, REST_MS);
  }

  /** Behind a cell no question waits, and never two. */
  get #due(): boolean {
    return this.#stale && this.#shown && !this.#asking.peek() && this.#free;
  }

  async #ask(): Promise<void> {
    this.#asking.value = true;
    this.#stale = false;
    this.#tellBusy();
    try {
      this.known.value = await this.#found();
    } catch {
      // A cell that failed takes what waits behind it along, and so does a restart.
      this.#stale = true;
    }
    this.#asking.value = false;
    this.#tellBusy();
    this.#look();
  }

  async #found(): Promise<Known> {
    const { language_info } = await this.kernel.info;
    if (language_info.name !== "python") return { is: "another language", language: language_info.name };
    try {
      const told = await askWhereKerasIs<{ models: ModelRow[]; more: number }>(this.kernel, "tell_models");
      return typeof told === "string" ? { is: told } : { is: "models", ...told };
    } catch (problem) {
      if (!(problem instanceof KernelProblem) || problem instanceof Unanswered) throw problem;
      return { is: "problem", message: problem.message };
    }
  }
}

/** Waits for what signals say. */
async function until(holds: () => boolean): Promise<void> {
  let stop: (() => void) | undefined;
  await new Promise<void>((resolve) => {
    stop = effect(() => {
      if (holds()) resolve();
    });
  });
  stop?.();
}
