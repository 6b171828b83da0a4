// A host as the front end sees it, and the kernel behind it.
import { vi } from "vitest";
import type { Row } from "../../shared/src/protocol";
import { row } from "../../shared/test/row";
import type { Host } from "../src/host";
import { Store } from "../src/store";

type Listener = (...args: unknown[]) => void;

export interface Sent {
  id: string;
  place: string;
  query?: string;
  action?: string;
  edit?: unknown;
}

export class Fake {
  readonly traits: Record<string, unknown>;
  readonly sent: Sent[] = [];
  readonly listeners = new Map<string, Set<Listener>>();
  readonly offs: unknown[][] = [];
  /** Whether the kernel answers, and with what kind of buffers. */
  answers = true;
  buffer: (bytes: Float32Array<ArrayBuffer>) => unknown = (bytes) => bytes.buffer;
  post: (message: Sent) => unknown = (message) => void this.sent.push(message);

  constructor(paths: string[], more: Partial<Host> = {}) {
    this.traits = { ...rowsOf(paths), revision: 0, alive: "a", info: {}, selected: [], filter: "" };
    Object.assign(this, more);
  }

  get = (name: string) => this.traits[name];
  set = (name: string, value: unknown) => void (this.traits[name] = value);
  save_changes = () => undefined;
  on = (event: string, listener: Listener) => {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener));
  };
  off = (...args: [string, Listener]) => {
    this.offs.push(args);
    this.listeners.get(args[0])?.delete(args[1]);
  };
  send = (message: unknown) => {
    const told = this.post(message as Sent);
    const { id, query } = message as Sent;
    if (this.answers && query === "ping") this.say({ id, ok: { alive: "a" } });
    if (this.answers && query === "histograms") {
      const bytes = Float32Array.from([1, 2, -1, 1, 0.5, 0, 0, 0, 0, 4]);
      this.say({ id, ok: { paths: ["a"], bins: 2 } }, [this.buffer(bytes)]);
    }
    return told;
  };

  say(message: unknown, buffers: unknown[] = []): void {
    queueMicrotask(() => this.listeners.get("msg:custom")?.forEach((listener) => listener(message, buffers)));
  }

  /** The traits of an update, set and announced one by one. */
  async update(traits: Record<string, unknown>): Promise<void> {
    for (const [name, value] of Object.entries(traits)) {
      this.traits[name] = value;
      this.listeners.get(`change:${name}`)?.forEach((listener) => listener());
    }
    await settled();
  }
}

export const rowsOf = (paths: string[]) => rowsFrom(paths.map((path) => ({ ...row(path), weights: 1 })));
export const rowsFrom = (snapshot: Row[]) => ({ snapshot, patch: [[0, snapshot.length]] });
export const settled = () => vi.advanceTimersByTimeAsync(0);

export async function open(fake: Fake): Promise<Store> {
  const store = new Store(fake as unknown as Host);
  await settled();
  return store;
}

