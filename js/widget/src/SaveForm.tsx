import { useEffect, useRef, useState } from "preact/hooks";
import { Alert } from "./Alert";
import { Button } from "./Button";
import type { Store } from "./store";
import { useTaking } from "./useTaking";

export function SaveForm({ store, onClose }: { store: Store; onClose: () => void }) {
  const [path, setPath] = useState(`${store.info.value?.name ?? "model"}.keras`);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const { refusal, take, drop } = useTaking(async (overwrite) => {
    const done = await store.ask<{ path: string }>({ action: "save", path, overwrite });
    store.report.value = [`Saved to ${done.path}`];
    onClose();
  });
  const empty = path.trim() === "";

  return (
    <form
      class="ke-panel"
      onSubmit={(event) => {
        event.preventDefault();
        if (!empty) void take(false);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <div class="ke-group">
        <input
          ref={field}
          class="ke-input ke-grow"
          aria-label="File name"
          title="A path without a leading / starts in the folder where the kernel runs"
          spellcheck={false}
          autocomplete="off"
          value={path}
          onInput={(event) => {
            drop();
            setPath(event.currentTarget.value);
          }}
        />
        <Button label="Write file" primary disabled={empty} onClick={() => void take(false)}>
          Write file
        </Button>
        <Button label="Close save form" icon="close" onClick={onClose} />
      </div>
      {refusal && (
        <Alert refusal={refusal}>
          {refusal.hint === "file" && (
            <>
              <Button label="Replace file" primary onClick={() => void take(true)}>
                Replace file
              </Button>
              <Button label="Keep file" onClick={drop}>
                Keep file
              </Button>
            </>
          )}
        </Alert>
      )}
    </form>
  );
}
