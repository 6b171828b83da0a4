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

/** An edit that is being put together: what it would do, and a way to have it made once it can be. */
export function useEdit(store: Store, edit: Edit | null, done: () => void) {
  const preview = usePreview(store, edit);
  const [applying, setApplying] = useState(false);
  const [refused, setRefused] = useState<{ edit: Edit; refusal: Refusal } | null>(null);
  const ready = edit !== null && preview.plan?.ok === true && !preview.checking && !applying;
  const question = JSON.stringify(edit);
  /** Asked for before the kernel had said whether it can be made. */
  const [hurried, setHurried] = useState<string | null>(null);

  async function apply(): Promise<void> {
    setHurried(edit !== null && preview.checking ? question : null);
    if (!ready) return;
    setApplying(true);
    setRefused(null);
    try {
      await store.apply({ edit });
      done();
    } catch (error) {
      if (error instanceof Refusal) setRefused({ edit, refusal: error });
    }
    setApplying(false);
  }

  useEffect(() => {
    if (hurried === question && !preview.checking) void apply();
  }, [hurried, question, preview.checking]);

  const still = JSON.stringify(refused?.edit) === question;
  return { ...preview, ready, apply, refused: still ? refused?.refusal : undefined };
}

/** What the kernel says an edit would do; asked again when the edit or the model changes. */
function usePreview(store: Store, edit: Edit | null) {
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
