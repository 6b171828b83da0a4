import { useEffect, useRef, useState } from "preact/hooks";
import { decodeDetail, type Weight } from "../../shared/src/detail";
import { plural } from "../../shared/src/format";
import type { LayerDetail } from "../../shared/src/protocol";
import { Refusal } from "./client";
import type { Store } from "./store";
import { useFetched } from "./useAnswer";
import { WeightFigure } from "./WeightFigure";

/** In a training the weights are looked at again so often at most. */
const REST_MS = 2000;
/** And seldom enough for the kernel to spend no more than one part in so many on it. */
const SHARE = 5;

interface Props {
  store: Store;
  path: string;
  log: boolean;
  bins?: number;
  /** Paths of the weights that are shown; all where there are none. */
  only?: ReadonlySet<string> | null;
}

interface Weights {
  detail: LayerDetail;
  weights: Weight[];
}

/** The weights of a layer, one by one. While they are trained, and in sight, they are followed. */
export function LayerWeights({ store, path, log, bins = 64, only = null }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const seen = useSeen(box);
  const running = store.training.running.value;
  const [turn, setTurn] = useState(0);
  const took = useRef(0);

  const answer = useFetched<Weights>(
    store,
    JSON.stringify([path, bins]),
    async () => {
      const start = performance.now();
      const { ok, buffers } = await store.request<LayerDetail>({ query: "detail", path, bins });
      took.current = performance.now() - start;
      return { detail: ok, weights: decodeDetail(ok, buffers[0]) };
    },
    // The end of a training is seen too, though the revision stays.
    2 * turn + Number(running),
  );

  useEffect(() => {
    if (!running || !seen) return;
    const timer = setTimeout(() => setTurn((n) => n + 1), Math.max(REST_MS, SHARE * took.current));
    return () => clearTimeout(timer);
  }, [running, seen, answer]);

  return (
    <div ref={box} class="ke-weights">
      <Shown store={store} answer={answer} log={log} only={only} />
    </div>
  );
}

function Shown({ store, answer, log, only }: Omit<Props, "path" | "bins"> & { answer: Weights | Refusal | null }) {
  if (answer === null) {
    return <p class="ke-dim">{store.dead.value ? "Not known without a kernel." : `Asking ${store.answers} …`}</p>;
  }
  if (answer instanceof Refusal) return <p dir="auto">{answer.message}</p>;
  const { detail, weights } = answer;
  return (
    <>
      {weights.filter(({ path }) => !only || only.has(path)).map((weight) => (
        <WeightFigure key={weight.path} store={store} weight={weight} log={log} compared={detail.compared} />
      ))}
      {detail.more > 0 && <p class="ke-dim">And {plural(detail.more, "weight")} more.</p>}
    </>
  );
}

function useSeen(box: { current: HTMLElement | null }): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver((all) => setSeen(all.at(-1)?.isIntersecting === true));
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return seen;
}
