import { Alert } from "./Alert";
import { Button } from "./Button";
import type { Store } from "./store";

export function Messages({ store }: { store: Store }) {
  const problem = store.problem.value;
  return (
    <div class="ke-messages">
      <div role="status" aria-label="Messages" aria-live="polite">
        {store.dead.value ? (
          <p class="ke-notice">not live — run the cell again to edit</p>
        ) : (
          store.waiting.value && <p class="ke-waiting">waiting for the kernel</p>
        )}
        {store.report.value.map((line) => (
          <p key={line} class="ke-report" dir="auto">
            {line}
          </p>
        ))}
      </div>
      {problem && (
        <Alert refusal={problem}>
          <Button label="Dismiss message" onClick={() => (store.problem.value = null)}>
            Dismiss
          </Button>
        </Alert>
      )}
    </div>
  );
}
