// A host of the widget's front end that is no widget model: what it shows, and who listens.
import type { Host, Traits } from "../../widget/src/host";

type Listener = (...args: never[]) => void;

export abstract class PageHost implements Host {
  abstract readonly comm_live: boolean;
  readonly shortcuts = true;
  protected readonly traits: Partial<Traits> = {};
  readonly #listeners = new Map<string, Set<Listener>>();

  get<K extends keyof Traits>(name: K): Traits[K] | undefined {
    return this.traits[name];
  }

  set<K extends keyof Traits>(name: K, value: Traits[K]): void {
    if (this.traits[name] === value) return;
    this.traits[name] = value;
    this.tell(`change:${name}`);
  }

  on(event: string, callback: Listener): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(callback));
  }

  off(event: string, callback: Listener): void {
    this.#listeners.get(event)?.delete(callback);
  }

  abstract save_changes(): void;
  abstract send(content: unknown): void;

  protected tell(event: string, ...args: unknown[]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) (listener as (...args: unknown[]) => void)(...args);
  }
}
