// The parts of the editor that stand alone.
import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { chosenWeights } from "../../shared/src/chosen";
import { plural } from "../../shared/src/format";
import { Flags } from "./Bar";
import { History } from "./ChangesPanel";
import { EditPreview } from "./EditPreview";
import { FilterBox } from "./FilterBox";
import { followTraits, type Traits } from "./host";
import { Layers } from "./Layers";
import { LayerWeights } from "./LayerWeights";
import { Messages } from "./Messages";
import "./parts.css";
import { Problem, Root } from "./Root";
import type { Store } from "./store";

interface Props {
  store: Store;
}

/** A trait that only one part has, as it is now. */
function useTrait<K extends keyof Traits>(store: Store, name: K): Traits[K] | undefined {
  const [value, setValue] = useState(store.host.get(name));
  useEffect(() => followTraits(store.host, [name], () => setValue(store.host.get(name))), [store, name]);
  return value;
}

export function LayerTable({ store }: Props) {
  return (
    <Root store={store} label="Layer table">
      <header class="ke-bar">
        <div class="ke-bar-row">
          <FilterBox store={store} />
          <span class="ke-dim">{plural(store.info.value?.layers ?? 0, "layer")}</span>
        </div>
      </header>
      <Layers store={store} />
      <Messages store={store} />
    </Root>
  );
}

export function TrainableToggles({ store }: Props) {
  return (
    <Root store={store} label="Trainable toggles">
      <header class="ke-bar">
        <div class="ke-bar-row">
          <FilterBox store={store} />
          <Flags store={store} />
        </div>
      </header>
      <Problem store={store} />
      <Layers store={store} />
      <Messages store={store} />
      <EditPreview store={store} />
    </Root>
  );
}

export function EditHistory({ store }: Props) {
  return (
    <Root store={store} label="Edit history">
      <Problem store={store} />
      {store.dead.value ? <LastSteps store={store} /> : <History store={store} />}
      <Messages store={store} />
    </Root>
  );
}

/** What is known of the history when there is no kernel to be asked. */
function LastSteps({ store }: Props) {
  const steps = useTrait(store, "steps") ?? [];
  const first = (store.info.value?.done ?? 0) - steps.length;
  return (
    <ol class="ke-steps" aria-label="History">
      {steps.map((label, i) => (
        <li key={i} class="ke-step">
          <span class="ke-step-number">{first + i + 1}</span>
          <span dir="auto">{label}</span>
        </li>
      ))}
    </ol>
  );
}

export function WeightHistograms({ store }: Props) {
  const paths = useTrait(store, "paths") ?? [];
  const log = useTrait(store, "log") ?? false;
  const bins = useTrait(store, "bins") ?? 64;
  const rows = store.rows.value;
  const chosen = useMemo(() => chosenWeights(rows, paths), [rows, paths]);
  const usual = useSignal(160);
  return (
    <Root store={store} label="Weight histograms">
      <header class="ke-bar">
        <div class="ke-bar-row">
          <label class="ke-log">
            <input
              type="checkbox"
              checked={log}
              onChange={(event) => {
                store.host.set("log", event.currentTarget.checked);
                store.host.save_changes();
              }}
            />
            Log scale
          </label>
          <span class="ke-dim">{plural(chosen.length, "layer")}</span>
        </div>
      </header>
      <div class="ke-gallery" role="group" aria-label="Histograms" tabIndex={0}>
        {chosen.map(({ row, weights }) => (
          <section key={row.path} aria-label={`Layer ${row.path}`}>
            <h3 dir="auto" title={row.title}>
              {row.path}
            </h3>
            <Near usual={usual}>
              <LayerWeights store={store} path={row.path} log={log} bins={bins} only={weights} />
            </Near>
          </section>
        ))}
        {chosen.length === 0 && <p class="ke-empty">No weights here.</p>}
      </div>
      <Messages store={store} />
    </Root>
  );
}

/**
 * Of many, only those in sight or near it are drawn, and asked for; the others keep their place. One that was never
 * drawn takes the usual height, that of the tallest so far, so that the end of the list stays where it was scrolled to.
 */
function Near({ usual, children }: { usual: Signal<number>; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const height = useRef(0);
  const [near, setNear] = useState(false);
  useEffect(() => {
    const node = box.current;
    if (!node) return;
    const observer = new IntersectionObserver(
      (seen) => {
        const now = seen.at(-1)?.isIntersecting === true;
        if (!now && node.firstChild) {
          height.current = node.offsetHeight;
          usual.value = Math.max(usual.peek(), height.current);
        }
        setNear(now);
      },
      { root: node.closest(".ke-gallery"), rootMargin: "200px" },
    );
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  return (
    <div ref={box} style={near ? undefined : { height: height.current || usual.value }}>
      {near && children}
    </div>
  );
}
