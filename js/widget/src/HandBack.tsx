import { useState } from "preact/hooks";
import { Alert } from "./Alert";
import { Button } from "./Button";
import type { Store } from "./store";
import { useDone } from "./useDone";
import { Overwrite, useTaking } from "./taking";

export function HandBack({ store }: { store: Store }) {
  const [typed, setTyped] = useState<string | null>(null);
  const name = typed ?? store.info.value?.variable ?? "";
  const [done, tellDone] = useDone();
  const { refusal, take, drop } = useTaking(name, async (overwrite) => {
    const taken = await store.ask<{ name: string }>({ action: "hand_back", name, overwrite });
    store.report.value = [`The edited model is now the variable ${taken.name}.`];
    tellDone();
  });
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
      onSubmit={(event) => {
        event.preventDefault();
        handBack();
      }}
    >
      <input
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
              <Overwrite what="variable" take={take} drop={drop} />
            ) : (
              <Button label="Choose another name" onClick={drop}>
                Choose another name
              </Button>
            )}
          </Alert>
        </div>
      )}
    </form>
  );
}
