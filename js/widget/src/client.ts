// Requests to the kernel and their answers.
import type { Binary } from "../../shared/src/histogram";
import type { Action, Answer, Done, Problem, Question, Word } from "../../shared/src/protocol";

/** The kernel answered, and said no. */
export class Refusal extends Error {
  readonly type: string;
  readonly hint: string;

  constructor(problem: Problem) {
    super(problem.message);
    this.type = problem.type;
    this.hint = problem.hint ?? "";
  }
}

/** No answer can come any more: the kernel is gone, or this view is. */
export class Disconnected extends Error {}

export interface Reply<T> {
  ok: T;
  buffers: Binary[];
}

interface Pending {
  resolve: (reply: Reply<never>) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
  slow: boolean;
}

interface Queued {
  action: Action;
  revision: number;
  resolve: (done: Done) => void;
  reject: (error: unknown) => void;
}

/** After this long without an answer a person is told that the kernel is busy. */
export const SLOW_MS = 1000;

export class Client {
  /** Several views of one widget hear each other's answers, so ids are unique among views. */
  readonly #place = Math.random().toString(36).slice(2, 10);
  readonly #pending = new Map<string, Pending>();
  readonly #post: (message: object) => unknown;
  readonly #onWaiting: (changes: number | null) => void;
  #last = 0;
  #waiting: number | null = null;
  #queue: Queued[] = [];
  #acting: Queued | null = null;
  #reached = -1;

  /**
   * @param post sends a message; throws, or promises in vain, where the channel is closed
   * @param onWaiting is told how many changes of the model wait for a kernel that lets wait; null: it does not
   */
  constructor(post: (message: object) => unknown, onWaiting: (changes: number | null) => void) {
    this.#post = post;
    this.#onWaiting = onWaiting;
  }

  ask<T>(question: Question): Promise<Reply<T>> {
    return this.#request<T>(question);
  }

  /** Says something to the kernel. Nobody waits for the answer, and none is missed. */
  tell(word: Word): void {
    // Where the channel is closed, what is asked next will find out.
    this.#send({ id: this.#newId(), ...word }, () => undefined);
  }

  #send(message: object, failed: (error: unknown) => void): void {
    try {
      void Promise.resolve(this.#post({ place: this.#place, ...message })).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /**
   * Does what changes the model, one at a time. A second click while the kernel is busy with the
   * first was made in full knowledge of the first: it goes out on the revision that the first
   * leads to. A change that somebody else made in between still makes it stale.
   */
  act(action: Action, revision: number): Promise<Done> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ action, revision: Math.max(revision, this.#reached), resolve, reject });
      this.#next();
      this.#tellWaiting();
    });
  }

  #next(): void {
    if (this.#acting) return;
    const current = this.#queue.shift();
    if (!current) return;
    this.#acting = current;
    this.#request<Done>({ ...current.action, revision: current.revision })
      .then(
        ({ ok }) => {
          this.#reached = ok.revision;
          for (const later of this.#queue) {
            if (later.revision === current.revision) later.revision = ok.revision;
          }
          current.resolve(ok);
        },
        (error: unknown) => current.reject(error),
      )
      .finally(() => {
        this.#acting = null;
        this.#next();
        this.#tellWaiting();
      });
  }

  #request<T>(body: object): Promise<Reply<T>> {
    return new Promise((resolve, reject) => {
      const id = this.#newId();
      const timer = setTimeout(() => {
        const pending = this.#pending.get(id);
        if (!pending) return;
        pending.slow = true;
        this.#tellWaiting();
      }, SLOW_MS);
      this.#pending.set(id, { resolve, reject, timer, slow: false });
      this.#send({ id, ...body }, (error) => this.#settle(id)?.reject(new Disconnected(String(error))));
    });
  }

  #newId(): string {
    return `${this.#place}-${++this.#last}`;
  }

  /** Takes a message from the kernel. What answers no request of this view is somebody else's. */
  receive(message: unknown, buffers: Binary[] = []): void {
    if (typeof message !== "object" || message === null || !("id" in message)) return;
    const answer = message as Answer;
    const pending = this.#settle(answer.id);
    if (!pending) return;
    if ("error" in answer) pending.reject(new Refusal(answer.error));
    else pending.resolve({ ok: answer.ok as never, buffers });
  }

  /** Gives up on everything that is under way. */
  disconnect(): void {
    const queued = this.#queue;
    this.#queue = [];
    this.#reached = -1;
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(new Disconnected());
    for (const { reject } of queued) reject(new Disconnected());
  }

  #settle(id: string): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending) {
      clearTimeout(pending.timer);
      this.#pending.delete(id);
      if (pending.slow) this.#tellWaiting();
    }
    return pending;
  }

  #tellWaiting(): void {
    const slow = [...this.#pending.values()].some((pending) => pending.slow);
    const changes = slow ? this.#queue.length + (this.#acting ? 1 : 0) : null;
    if (changes !== this.#waiting) this.#onWaiting((this.#waiting = changes));
  }
}
