import { useEffect, useRef, useState } from "preact/hooks";
import { Alert } from "./Alert";
import { Button } from "./Button";
import type { Store } from "./store";
import { Overwrite, useTaking } from "./taking";

export function SaveForm({ store, onClose }: { store: Store; onClose: () => void }) {
  const [path, setPath] = useState(`${store.info.value?.name ?? "model"}.keras`);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const save = async (overwrite: boolean) => {
    const done = await store.ask<{ path: string }>({ action: "save", path, overwrite });
    store.report.value = [`Saved to ${done.path}`];
  };
  const { refusal, take, drop } = useTaking(path, save, onClose);
  const keep = () => {
    drop();
    field.current?.select();
  };
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
          onInput={(event) => setPath(event.currentTarget.value)}
        />
        <Button label="Write file" primary disabled={empty} onClick={() => void take(false)}>
          Write file
        </Button>
        <Button label="Close save form" icon="close" onClick={onClose} />
      </div>
      {refusal && (
        <Alert refusal={refusal}>
          {refusal.hint === "file" && <Overwrite what="file" take={take} drop={keep} />}
        </Alert>
      )}
    </form>
  );
}
