import { useRef, useState } from "preact/hooks";
import { Alert } from "./Alert";
import { Button } from "./Button";
import type { Store } from "./store";
import { useDone } from "./useDone";
import { Overwrite, useTaking } from "./taking";

export function HandBack({ store }: { store: Store }) {
  const [typed, setTyped] = useState<string | null>(null);
  const name = typed ?? store.info.value?.variable ?? "";
  const [done, tellDone] = useDone();
  const field = useRef<HTMLInputElement>(null);
  const { refusal, take, drop } = useTaking(name, async (overwrite) => {
    const taken = await store.ask<{ name: string }>({ action: "hand_back", name, overwrite });
    const latest = store.training.wanted.peek() === null ? "" : ", with its latest weights";
    store.report.value = [`The edited model is now the variable ${taken.name}${latest}.`];
    tellDone();
  });
  const keep = () => {
    drop();
    field.current?.select();
  };
  const disabled = store.dead.value || name.trim() === "";
  const handBack = () => {
    if (!disabled) void take(false);
  };

  return (
    <form
      class="ke-group ke-anchor"
      onKeyDown={(event) => {
        if (event.key === "Escape") drop();
      }}
      onFocusOut={({ currentTarget, relatedTarget }) => {
        const goesOn = currentTarget.closest(".ke-root")?.contains(relatedTarget as Node | null);
        if (relatedTarget && goesOn && !currentTarget.contains(relatedTarget as Node)) drop();
      }}
      onSubmit={(event) => {
        event.preventDefault();
        handBack();
      }}
    >
      <input
        ref={field}
        class="ke-input ke-variable"
        aria-label="Variable name"
        title="The variable of the notebook that gets the edited model"
        spellcheck={false}
        autocomplete="off"
        value={name}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      <Button label="Hand back" icon={done ? "check" : "handBack"} title={`Bind the edited model to ${name}`} disabled={disabled} onClick={handBack}>
        Hand back
      </Button>
      {refusal && !store.dead.value && (
        <div class="ke-popover ke-below">
          <Alert refusal={refusal}>
            {refusal.hint === "model" ? (
              <Overwrite what="variable" take={take} drop={keep} />
            ) : (
              <Button label="Choose another name" onClick={keep}>
                Choose another name
              </Button>
            )}
          </Alert>
        </div>
      )}
    </form>
  );
}
