import { useEffect, useState } from "preact/hooks";
import { Alert } from "./Alert";
import { Button } from "./Button";
import { Refusal } from "./client";
import { copyText } from "./copyText";
import type { Store } from "./store";

export function CodePanel({ store, onClose }: { store: Store; onClose: () => void }) {
  const [code, setCode] = useState<string | Refusal | null>(null);
  const revision = store.revision.value;

  useEffect(() => {
    let current = true;
    store.ask<{ code: string }>({ query: "code" }).then(
      (answer) => current && setCode(answer.code),
      (error: unknown) => current && error instanceof Refusal && setCode(error),
    );
    return () => {
      current = false;
    };
  }, [store, revision]);

  return (
    <div class="ke-panel">
      <div class="ke-group">
        <strong class="ke-grow">The edits as Python code</strong>
        {typeof code === "string" && (
          <Button
            label="Copy code"
            icon="copy"
            onClick={(event) => {
              void copyText(code, event.currentTarget as HTMLElement).then(() => {
                store.report.value = ["Code copied."];
              });
            }}
          >
            Copy
          </Button>
        )}
        <Button label="Close code" icon="close" onClick={onClose} />
      </div>
      {code instanceof Refusal ? (
        <Alert refusal={code} />
      ) : (
        <pre class="ke-code" tabIndex={0} aria-label="Python code">
          {code}
        </pre>
      )}
    </div>
  );
}
