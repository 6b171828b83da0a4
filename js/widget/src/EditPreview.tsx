import { useLayoutEffect, useRef } from "preact/hooks";
import { float } from "./float";
import type { Foreseen } from "./foresight";
import { PlanLines } from "./PlanView";
import "./preview.css";
import { inputsToKeep } from "./RowNotePanel";
import type { Store } from "./store";
import { useId } from "./useId";

/** Lines of each kind; whoever wants all of them makes the edit, and may undo it. */
const LINES = 5;

/** What a click on the button that has pointer or focus would do. */
export function EditPreview({ store }: { store: Store }) {
  const foreseen = store.foresight.shown.value;
  return foreseen && <Box key={JSON.stringify(foreseen.edit)} store={store} foreseen={foreseen} />;
}

function Box({ store, foreseen }: { store: Store; foreseen: Foreseen }) {
  const { foresight } = store;
  const { anchor, edit, plan, refusal } = foreseen;
  const box = useRef<HTMLDivElement>(null);
  const id = useId();

  useLayoutEffect(() => {
    if (!box.current) return;
    const root = box.current.parentElement;
    const stop = float(box.current, anchor, () => foresight.dismiss());
    anchor.setAttribute("aria-describedby", id);
    const keys = new AbortController();
    // The focus may be anywhere while the pointer is here.
    window.addEventListener("keydown", onKeyDown, { capture: true, signal: keys.signal });
    function onKeyDown(event: KeyboardEvent): void {
      if (event.key !== "Escape") return;
      foresight.dismiss();
      const closesMore = anchor.closest("[role=menu], input") !== null;
      if (!closesMore && root && event.composedPath().includes(root)) event.stopPropagation();
    }
    return () => {
      stop();
      keys.abort();
      anchor.removeAttribute("aria-describedby");
    };
  }, [foreseen]);

  const choices = plan?.ok === false && (plan.mismatch === true || inputsToKeep(store.rows.value, edit).length > 0);
  return (
    <div
      ref={box}
      id={id}
      class={`ke-foreseen${choices ? " ke-foreseen-asks" : ""}`}
      role="tooltip"
      popover="manual"
      onPointerEnter={() => foresight.stay()}
      onPointerLeave={() => foresight.leave()}
    >
      {plan && <strong dir="auto">{plan.text.split("\n", 1)[0]}</strong>}
      <PlanLines plan={plan} refusal={refusal} limit={LINES} />
      {choices && <p class="ke-foreseen-choice">Click, and choose how it is to be done.</p>}
    </div>
  );
}
