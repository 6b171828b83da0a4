import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Alert } from "./Alert";
import { Button } from "./Button";
import { keepFocus } from "./keepFocus";
import type { Store } from "./store";

interface Props {
  store: Store;
  label: string;
  children: ComponentChildren;
}

/** What holds a widget together: its name, and keys that stay inside. */
export function Root({ store, label, children }: Props) {
  const root = useRef<HTMLElement>(null);
  const { shortcuts = false } = store.host;

  // Out of sight nothing moves: the kernel then has no weights to look at.
  useEffect(() => {
    const observer = new IntersectionObserver((seen) => {
      store.training.setVisible(seen.at(-1)?.isIntersecting === true);
    });
    if (root.current) observer.observe(root.current);
    return () => observer.disconnect();
  }, [store]);

  useEffect(() => (root.current ? keepFocus(root.current) : undefined), []);

  function onKeyDown(event: KeyboardEvent): void {
    // The attribute below keeps JupyterLab's shortcuts away; this does it for other hosts.
    if (!shortcuts) event.stopPropagation();
    const typing = event.target instanceof HTMLInputElement && !["checkbox", "range"].includes(event.target.type);
    if ((event.ctrlKey || event.metaKey) && !typing && store.dialog.value === null) {
      const key = event.key.toLowerCase();
      if (store.acts && (key === "z" || key === "y")) {
        event.preventDefault();
        void store.step(key === "y" || event.shiftKey ? "redo" : "undo");
      }
    }
  }

  return (
    <section
      ref={root}
      class={`ke-root ke-part-${store.part}`}
      aria-label={label}
      role="region"
      style={{ "--ke-height": `${store.maxHeight.value}px` }}
      data-lm-suppress-shortcuts={shortcuts ? undefined : "true"}
      onKeyDown={onKeyDown}
      onPointerEnter={() => store.checkKernel()}
      onFocusIn={() => store.checkKernel()}
    >
      {children}
    </section>
  );
}

/** What the kernel refused and belongs to no row. */
export function Problem({ store }: { store: Store }) {
  const problem = store.problem.value;
  if (!problem) return null;
  return (
    <Alert refusal={problem}>
      <Button label="Dismiss message" onClick={() => (store.problem.value = null)}>
        Dismiss
      </Button>
    </Alert>
  );
}
