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

/** What the plan lists, as headed lines; a heading without lines is left out. */
function listsOf(plan: Plan): [string, string[]][] {
  const lists: [string, string[]][] = [
    ["Shapes that change", plan.shape_changes.map(([path, before, after]) => `${path}: ${before} → ${after}`)],
    ["Starts afresh", plan.reinitialized],
    ["Copied in part", plan.sliced],
    ["Dropped", plan.dropped],
    ["Renamed", plan.renamed.map(([before, after]) => `${before} → ${after}`)],
    ["Mind", plan.warnings],
  ];
  return lists.filter(([, lines]) => lines.length > 0);
}

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
          {listsOf(plan).map(([heading, lines]) => (
            <div key={heading}>
              <p class="ke-dim">{heading}</p>
              <ul>
                {lines.map((line) => (
                  <li key={line} dir="auto">
                    {line}
                  </li>
                ))}
              </ul>
            </div>
          ))}
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
