import { useState } from "preact/hooks";
import type { CodeStyle } from "../../shared/src/protocol";
import { Alert } from "./Alert";
import { Button } from "./Button";
import { Refusal } from "./client";
import { copyText } from "./copyText";
import { Asking, Old } from "./Fetched";
import type { Store } from "./store";
import { usePatientAnswer } from "./useAnswer";
import { useDone } from "./useDone";

const STYLES: Record<CodeStyle, string> = {
  kerasedit: "repeats the edits with kerasedit",
  keras: "builds the edited model with Keras alone",
};

/** A script that makes the edited model out of the source. */
export function CodePanel({ store }: { store: Store }) {
  const [style, setStyle] = useState<CodeStyle>("kerasedit");
  const { answer, old, again } = usePatientAnswer<{ code: string }>(store, { query: "code", style });
  const [done, tellDone] = useDone();
  const code = answer === null || answer instanceof Refusal ? null : answer.code;

  return (
    <>
      <div class="ke-group">
        <label class="ke-group ke-grow">
          A script that
          <select
            class="ke-input"
            aria-label="Style of the code"
            value={style}
            onChange={(event) => setStyle(event.currentTarget.value as CodeStyle)}
          >
            {Object.entries(STYLES).map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <Button
          label="Copy code"
          icon={done ? "check" : "copy"}
          disabled={code === null}
          onClick={(event) => {
            void copyText(code ?? "", event.currentTarget as HTMLElement).then(() => {
              store.report.value = ["Code copied."];
              tellDone();
            });
          }}
        >
          Copy
        </Button>
      </div>
      {old && <Old what="These lines" again={again} />}
      {answer === null && <Asking />}
      {answer instanceof Refusal && <Alert refusal={answer} />}
      {code !== null && (
        <pre class="ke-code" tabIndex={0} aria-label="Python code" dir="ltr">
          {code}
        </pre>
      )}
    </>
  );
}
