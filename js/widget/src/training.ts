// What a view shows of a training: where it stands, the weights of the rows in view as they move, and
// as they were at a step that was asked for.
import { batch, computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { type Binary, decodeMoments, type Histogram, type Moment } from "../../shared/src/histogram";
import type { Frame, Question, Training, Word } from "../../shared/src/protocol";
import { continueCurve, type Curve, keepMetrics, NO_CURVE, readTraining } from "../../shared/src/training";
import type { Reply } from "./client";
import { followTraits, type Host } from "./host";

/** How long rows or the slider have to rest before the kernel hears of it. */
const REST_MS = 150;
/** So many frames the kernel sends ahead of what was drawn, and so many rows it takes at once. */
const AHEAD = 2;
const MAX_PATHS = 512;
/** A kernel that was silent for so long in a training is asked: an interrupt ends one without a word. */
const SILENCE_MS = 2000;

type Histograms = ReadonlyMap<string, Histogram>;

interface Moments {
  paths: string[];
  steps: number[];
  bins: number;
}

export interface Kernel {
  tell(word: Word): void;
  ask<T>(question: Question): Promise<Reply<T>>;
}

export class TrainingView {
  readonly state = signal<Training | null>(null);
  readonly running = computed(() => this.state.value?.running === true);
  readonly curve = signal(NO_CURVE);
  /** What went wrong, but for what a person has read. */
  readonly alerts = computed(() => this.state.value?.alerts.filter((text) => !this.#read.value.has(text)) ?? []);
  /** The step that was asked for; null while the weights are shown as they are now. */
  readonly wanted = signal<number | null>(null);
  /** The step that is shown in its place: not every one was kept. */
  readonly found = signal<number | null>(null);

  /** The weights of rows as a frame showed them last. */
  readonly #live = signal<ReadonlyMap<string, Moment>>(new Map());
  readonly #past = signal<ReadonlyMap<string, Moment>>(new Map());
  readonly #read = signal<ReadonlySet<string>>(new Set());
  readonly #known = computed(() => this.state.value !== null);
  readonly #kernel: Kernel;
  readonly #moves: ReadonlySignal<boolean>;
  readonly #stops: (() => void)[] = [];
  #inView: readonly string[] = [];
  #visible = true;
  #watches = false;
  /** The last frame that is not drawn yet, and how many there are with those that it made old. */
  #frame: { paths: readonly string[]; bins: number; buffer: Binary } | null = null;
  #undrawn = 0;
  #frameAsked = 0;
  #watchTimer: ReturnType<typeof setTimeout> | undefined;
  #scrubTimer: ReturnType<typeof setTimeout> | undefined;
  #heard = 0;

  constructor(host: Host, kernel: Kernel, moves: ReadonlySignal<boolean> = signal(true)) {
    this.#kernel = kernel;
    this.#moves = moves;
    this.#stops.push(followTraits(host, ["training"], () => this.#take(readTraining(host.get("training")))));
    this.#stops.push(
      effect(() => {
        if (!this.running.value) return;
        this.scrub(null); // What was looked at is of the training before.
        this.#read.value = new Set();
        this.watch();
        const timer = setInterval(() => this.#breakSilence(), SILENCE_MS);
        return () => clearInterval(timer);
      }),
    );
    this.#stops.push(
      effect(() => {
        if (this.#known.value) this.#fetchCurve();
      }),
    );
    this.#stops.push(
      effect(() => {
        if (!moves.value) this.#live.value = new Map();
        this.watch();
      }),
    );
    const onVisibility = () => this.watch();
    document.addEventListener("visibilitychange", onVisibility);
    this.#stops.push(() => document.removeEventListener("visibilitychange", onVisibility));
  }

  close(): void {
    for (const stop of this.#stops) stop();
    for (const timer of [this.#watchTimer, this.#scrubTimer]) clearTimeout(timer);
    cancelAnimationFrame(this.#frameAsked);
  }

  /** Takes an alert away. */
  dismiss(text: string): void {
    this.#read.value = new Set([...this.#read.peek(), text]);
  }

  /** What a row shows in place of its histogram as it is otherwise known. */
  histogram(path: string, known: Histograms): Histogram | Moment | undefined {
    if (this.found.value !== null) return this.#past.value.get(path);
    return this.#live.value.get(path) ?? known.get(path);
  }

  /** Whether frames tell of a row already. */
  shows(path: string): boolean {
    return this.running.peek() && this.#live.peek().has(path);
  }

  /** After a training the weights as they are now replace what its frames showed last. */
  replace(fresh: Histograms): void {
    if (!this.running.peek()) this.#live.value = new Map([...this.#live.peek()].filter(([path]) => !fresh.has(path)));
  }

  #take(state: Training | null): void {
    this.#heard = Date.now();
    batch(() => {
      this.state.value = state && keepMetrics(this.state.peek(), state);
      if (state) this.curve.value = continueCurve(this.curve.peek(), state);
      else this.scrub(null);
    });
  }

  // Frames

  /** Takes a message that the kernel sent unasked. It is drawn with the next picture of the page. */
  receive(message: unknown, [buffer]: readonly Binary[] = []): void {
    this.#heard = Date.now();
    if (typeof message !== "object" || message === null || !("frame" in message) || !buffer) return;
    const { training, paths, bins } = (message as Frame).frame;
    this.#take(training);
    this.#frame = { paths, bins, buffer };
    this.#undrawn++;
    this.#frameAsked ||= requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    const [frame, undrawn] = [this.#frame, this.#undrawn];
    [this.#frame, this.#undrawn, this.#frameAsked] = [null, 0, 0];
    if (frame && this.running.peek()) {
      this.#live.value = new Map([...this.#live.peek(), ...decodeMoments(frame.paths, frame.bins, frame.buffer)]);
    }
    // Others may see the widget too, and have frames sent while nothing is drawn here.
    for (let n = Math.min(undrawn, AHEAD); n > 0; n--) this.#kernel.tell({ action: "drawn" });
  }

  // Who looks at what

  view(paths: readonly string[]): void {
    this.#inView = paths.slice(0, MAX_PATHS);
    this.watch();
    if (this.wanted.peek() !== null) this.#fetchPast();
  }

  setVisible(visible: boolean): void {
    if (visible === this.#visible) return;
    this.#visible = visible;
    this.watch();
  }

  /** Lets the kernel know which rows are in view, once they rest. In a page that is not looked at there are none. */
  watch(): void {
    if (!this.running.peek()) return;
    clearTimeout(this.#watchTimer);
    this.#watchTimer = setTimeout(() => this.#say(this.#visible && this.#moves.peek() && !document.hidden ? this.#inView : []), REST_MS);
  }

  #say(paths: readonly string[]): void {
    if (paths.length === 0 && !this.#watches) return;
    this.#watches = paths.length > 0;
    this.#kernel.tell({ query: "watch", paths: [...paths] });
  }

  /** A page that comes to a training late gets the curve so far. */
  #fetchCurve(): void {
    this.#kernel
      .ask<Curve>({ query: "losses" })
      .then(({ ok }) => {
        if (ok.values.length > this.curve.peek().values.length) this.curve.value = ok;
      })
      .catch(() => undefined);
  }

  #breakSilence(): void {
    if (Date.now() - this.#heard >= SILENCE_MS) this.#kernel.tell({ query: "ping" });
  }

  // Steps of the past

  /** Shows the weights as they were at a step; null for as they are. */
  scrub(step: number | null): void {
    this.wanted.value = step;
    clearTimeout(this.#scrubTimer);
    if (step !== null) this.#scrubTimer = setTimeout(() => this.#fetchPast(), REST_MS);
    else {
      this.found.value = null;
      this.#past.value = new Map();
    }
  }

  #fetchPast(): void {
    const step = this.wanted.peek();
    if (step === null) return;
    this.#kernel
      .ask<Moments>({ query: "moments", paths: [...this.#inView], step })
      .then(({ ok, buffers: [buffer] }) => {
        if (this.wanted.peek() !== step || !buffer) return;
        batch(() => {
          this.#past.value = decodeMoments(ok.paths, ok.bins, buffer);
          this.found.value = ok.steps[0] ?? null;
        });
      })
      .catch(() => undefined); // Whoever is not answered keeps what is shown.
  }
}
