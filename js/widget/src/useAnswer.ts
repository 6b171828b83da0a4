import { useEffect, useRef, useState } from "preact/hooks";
import type { Question } from "../../shared/src/protocol";
import { Refusal } from "./client";
import { Latest } from "./latest";
import type { Store } from "./store";

/** What took the kernel longer than this is not asked for again with every change of the model. */
const PATIENCE_MS = 700;

interface Fetched<T> {
  /** The last answer stays until the next is there. Null: none came yet. */
  answer: T | Refusal | null;
  /** Whether the model has changed since, and nobody has asked yet what it is now. */
  old: boolean;
}

/** What the kernel answers to a question; asked again when the question or the model changes, or the kernel is back. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- who asks knows what the kernel answers
export function useAnswer<T>(store: Store, question: Question): T | Refusal | null {
  return useFetched<T>(store, JSON.stringify(question), () => store.ask<T>(question));
}

/** The same for what takes more than a question; `key` tells one from another, a new `turn` asks anew. */
export function useFetched<T>(store: Store, key: string, fetch: () => Promise<T>, turn = 0): T | Refusal | null {
  return useFetching(store, key, fetch, turn, Infinity).answer;
}

/** The same for what may take the kernel long, and is then asked again only where a person wants it. */
export function usePatientAnswer<T>(store: Store, question: Question): Fetched<T> & { again: () => void } {
  const [turn, setTurn] = useState(0);
  const fetched = useFetching<T>(store, JSON.stringify(question), () => store.ask<T>(question), turn, PATIENCE_MS);
  return { ...fetched, again: () => setTurn(turn + 1) };
}

function useFetching<T>(store: Store, key: string, fetch: () => Promise<T>, turn: number, patience: number): Fetched<T> {
  const revision = store.revision.value;
  const dead = store.dead.value;
  const wish = `${turn} ${key}`;
  const wanted = useRef<string | null>(wish);
  const line = useRef(new Latest());
  const last = useRef({ wish: "", took: 0 });
  const [fetched, setFetched] = useState<{ key: string; revision: number; ok: T | Refusal } | null>(null);

  useEffect(() => {
    wanted.current = wish;
    if (dead || (last.current.wish === wish && last.current.took > patience)) return;
    line.current.run(async () => {
      if (wanted.current !== wish) return;
      const [of, start] = [store.revision.peek(), performance.now()];
      // Without a kernel there is no answer, which the widget says elsewhere.
      const ok = await fetch().catch((error: unknown) => (error instanceof Refusal ? error : null));
      if (ok === null) return;
      last.current = { wish, took: performance.now() - start };
      if (wanted.current === wish) setFetched({ key, revision: of, ok });
    });
    // The wish stands for what is fetched, which is a new function at each render.
  }, [store, revision, wish, dead]);
  useEffect(() => () => void (wanted.current = null), []);

  if (fetched?.key !== key) return { answer: null, old: false };
  return { answer: fetched.ok, old: fetched.revision !== revision && last.current.took > patience };
}
