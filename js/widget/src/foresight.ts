// What an edit would do, told before the click that makes it.
import { signal } from "@preact/signals";
import type { Edit, Plan } from "../../shared/src/protocol";
import { Refusal } from "./client";
import { Latest } from "./latest";

/** How long pointer or focus have to rest on a button. */
export const REST_MS = 300;
/** How long the pointer may take from the button to what is shown of it. */
export const GRACE_MS = 200;

export interface Foreseen {
  anchor: HTMLElement;
  edit: Edit;
  /** What the kernel says of the edit, or why it says nothing. */
  plan: Plan | null;
  refusal: Refusal | null;
}

/** Asks for one thing at a time: a pointer that crosses many buttons costs the kernel nothing. */
export class Foresight {
  readonly shown = signal<Foreseen | null>(null);

  readonly #preview: (edit: Edit) => Promise<Plan>;
  readonly #line = new Latest();
  #wanted: Edit | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(preview: (edit: Edit) => Promise<Plan>) {
    this.#preview = preview;
  }

  /** Pointer or focus came to what makes this edit. */
  point(anchor: HTMLElement, edit: Edit): void {
    clearTimeout(this.#timer);
    if (this.shown.value?.anchor !== anchor) this.shown.value = null;
    this.#wanted = edit;
    this.#timer = setTimeout(() => this.#line.run(() => this.#ask(anchor, edit)), REST_MS);
  }

  async #ask(anchor: HTMLElement, edit: Edit): Promise<void> {
    const isWanted = () => this.#wanted === edit && anchor.isConnected;
    if (!isWanted()) return;
    try {
      const plan = await this.#preview(edit);
      if (isWanted()) this.shown.value = { anchor, edit, plan, refusal: null };
    } catch (error) {
      const told = error instanceof Refusal && error.type !== "StaleRevision";
      if (told && isWanted()) this.shown.value = { anchor, edit, plan: null, refusal: error };
    }
  }

  /** Pointer or focus left it; the pointer may be on its way to what is shown. */
  leave(): void {
    this.#wanted = null;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.dismiss(), GRACE_MS);
  }

  /** The pointer arrived there. */
  stay(): void {
    clearTimeout(this.#timer);
  }

  dismiss(): void {
    this.#wanted = null;
    clearTimeout(this.#timer);
    this.shown.value = null;
  }
}
