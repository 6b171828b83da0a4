import type { ComponentChildren } from "preact";
import { count, plural } from "../../shared/src/format";
import type { Store } from "./store";

/** What happened last, and how things stand with the kernel. Refusals are alerts, and elsewhere. */
export function Messages({ store }: { store: Store }) {
  if (store.dead.value) {
    return (
      <Region>
        <p class="ke-notice">not live — {store.host.revival ?? "run the cell again to edit"}</p>
      </Region>
    );
  }
  const report = store.report.value;
  return (
    <Region scrolls={report.length > 1}>
      {store.waiting.value !== null && (
        <p class="ke-waiting">
          waiting for {store.answers}
          {store.waiting.value > 0 && `: ${plural(store.waiting.value, "change")} to make`}
        </p>
      )}
      {report.map((line, i) => (
        <p key={i} dir="auto">
          {line}
        </p>
      ))}
      {store.filter.value.trim() && (
        <p>
          The filter shows {count(store.layersShown.value.length)} of {plural(store.rows.value.length, "row")}
        </p>
      )}
    </Region>
  );
}

/** What may be too high for it, the keyboard can scroll. */
function Region({ scrolls, children }: { scrolls?: boolean; children: ComponentChildren }) {
  return (
    <div class="ke-messages" role="status" aria-label="Messages" aria-live="polite" tabIndex={scrolls ? 0 : undefined}>
      {children}
    </div>
  );
}
