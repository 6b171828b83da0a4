import { useEffect, useState } from "preact/hooks";
import type { Edit, Plan } from "../../shared/src/protocol";
import { Refusal } from "./client";
import type { Store } from "./store";

/** How long typing has to rest before the kernel is asked. */
const REST_MS = 250;

interface Preview {
  /** What was asked, as text: what was answered to another question is not shown. */
  question: string;
  plan: Plan | null;
  refusal: Refusal | null;
}

const NOTHING: Preview = { question: "", plan: null, refusal: null };

/** What the kernel says an edit would do; asked again when the edit or the model changes. */
export function usePreview(store: Store, edit: Edit | null) {
  const revision = store.revision.value;
  const question = edit ? JSON.stringify([revision, edit]) : "";
  const [answer, setAnswer] = useState(NOTHING);

  useEffect(() => {
    if (!edit) return;
    let current = true;
    const timer = setTimeout(() => {
      store.preview(edit).then(
        (plan) => current && setAnswer({ question, plan, refusal: null }),
        (error: unknown) => current && error instanceof Refusal && setAnswer({ question, plan: null, refusal: error }),
      );
    }, REST_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
    // The question stands for the edit, which is a new object at each render.
  }, [store, question]);

  // The last answer stays on screen while the next is awaited, so that the dialog does not flicker.
  const { plan, refusal } = edit ? answer : NOTHING;
  return { plan, refusal, checking: edit !== null && answer.question !== question };
}
