import { useEffect, useRef } from "preact/hooks";
import { Alert } from "./Alert";
import { Bar } from "./Bar";
import { Button } from "./Button";
import { Layers } from "./Layers";
import { Messages } from "./Messages";
import { Palette } from "./Palette";
import type { Store } from "./store";
import { TrainingStrip } from "./TrainingStrip";

export function App({ store }: { store: Store }) {
  const info = store.info.value;
  const problem = store.problem.value;
  const root = useRef<HTMLElement>(null);

  // Out of sight nothing moves: the kernel then has no weights to look at.
  useEffect(() => {
    const observer = new IntersectionObserver((seen) => {
      store.training.setVisible(seen.at(-1)?.isIntersecting === true);
    });
    if (root.current) observer.observe(root.current);
    return () => observer.disconnect();
  }, [store]);

  function onKeyDown(event: KeyboardEvent): void {
    // The attribute below keeps JupyterLab's shortcuts away; this does it for other hosts.
    event.stopPropagation();
    const typing = event.target instanceof HTMLInputElement && !["checkbox", "range"].includes(event.target.type);
    if ((event.ctrlKey || event.metaKey) && !typing && store.palette.value === null) {
      const key = event.key.toLowerCase();
      if (key === "z" || key === "y") {
        event.preventDefault();
        void store.step(key === "y" || event.shiftKey ? "redo" : "undo");
      }
    }
  }

  return (
    <section
      ref={root}
      class="ke-root"
      aria-label="Keras model editor"
      role="region"
      data-lm-suppress-shortcuts="true"
      onKeyDown={onKeyDown}
      onPointerEnter={() => store.checkKernel()}
      onFocusIn={() => store.checkKernel()}
    >
      <Bar store={store} />
      {info && !info.editable && info.reason && <p class="ke-notice">{info.reason}</p>}
      {problem && (
        <Alert refusal={problem}>
          <Button label="Dismiss message" onClick={() => (store.problem.value = null)}>
            Dismiss
          </Button>
        </Alert>
      )}
      <TrainingStrip store={store} />
      <Layers store={store} />
      <Messages store={store} />
      {store.palette.value && <Palette store={store} task={store.palette.value} />}
    </section>
  );
}
