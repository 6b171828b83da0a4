import { count, difference } from "../../shared/src/format";
import type { Plan } from "../../shared/src/protocol";
import type { Refusal } from "./client";
import { Icon } from "./Icon";

interface Props {
  plan: Plan | null;
  refusal: Refusal | null;
  checking: boolean;
  missing: readonly string[];
}

const LISTS = {
  shape_changes: "Shapes that change",
  reinitialized: "Starts afresh",
  sliced: "Copied in part",
  dropped: "Dropped",
  renamed: "Renamed",
  warnings: "Mind",
} as const;

/** What the edit would do, as the kernel foresees it. */
export function PlanView({ plan, refusal, checking, missing }: Props) {
  return (
    <div class={`ke-plan${checking ? " ke-checking" : ""}`} role="status" aria-label="Preview" aria-busy={checking}>
      {missing.length > 0 && <p class="ke-dim">Still needed: {missing.join(", ")}</p>}
      {missing.length === 0 && checking && !plan && !refusal && <p class="ke-dim">Asking the kernel what this would do …</p>}
      {refusal && <Errors lines={[refusal.message]} />}
      {plan && (
        <>
          {plan.errors.length > 0 && <Errors lines={plan.errors} />}
          {plan.ok && (
            <p>
              Parameters {count(plan.params_before)} → <strong>{count(plan.params_after)}</strong>{" "}
              <span class="ke-dim">({difference(plan.params_before, plan.params_after)})</span>
            </p>
          )}
          <dl>
            {(Object.keys(LISTS) as (keyof typeof LISTS)[])
              .filter((key) => plan[key].length > 0)
              .map((key) => (
                <div key={key}>
                  <dt>{LISTS[key]}</dt>
                  {plan[key].map((line) => (
                    <dd key={line} dir="auto">
                      {line}
                    </dd>
                  ))}
                </div>
              ))}
          </dl>
          {plan.ok && plan.code && <code class="ke-plan-code">{plan.code}</code>}
        </>
      )}
    </div>
  );
}

function Errors({ lines }: { lines: readonly string[] }) {
  return (
    <div class="ke-alert">
      <Icon name="warning" />
      <div class="ke-alert-text">
        {lines.map((line) => (
          <p key={line} dir="auto">
            {line}
          </p>
        ))}
      </div>
    </div>
  );
}
