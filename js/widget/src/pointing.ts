import type { Edit } from "../../shared/src/protocol";
import type { Store } from "./store";

export type Foretelling = ReturnType<typeof foretelling>;

/** The props of a button that tells beforehand what a click on it would do. */
export function foretelling(store: Store, edit: () => Edit) {
  const { foresight } = store;
  return {
    onPointerEnter: (event: PointerEvent) => {
      if (event.pointerType !== "touch") foresight.point(event.currentTarget as HTMLElement, edit());
    },
    onPointerLeave: () => foresight.leave(),
    onFocus: (event: FocusEvent) => {
      const button = event.currentTarget as HTMLElement;
      // A click gives the focus too, and says for itself what it does.
      if (button.matches(":focus-visible")) foresight.point(button, edit());
    },
    onBlur: () => foresight.leave(),
    onPointerDown: () => foresight.dismiss(),
  };
}
