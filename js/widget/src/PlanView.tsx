import { bytes, change, count, listed, operations, shortened } from "../../shared/src/format";
import type { Plan } from "../../shared/src/protocol";
import type { Refusal } from "./client";
import { Icon } from "./Icon";

/** Lines of each kind that a person may want to read through. */
const LINES = 60;
/** Names in one line. */
const NAMES = 4;

interface Props {
  plan: Plan | null;
  refusal: Refusal | null;
  checking: boolean;
  missing: readonly string[];
}

/** What the edit would do, as the kernel foresees it. */
export function PlanView({ plan, refusal, checking, missing }: Props) {
  return (
    <div class={`ke-plan${checking ? " ke-checking" : ""}`} role="status" aria-label="Preview" aria-busy={checking}>
      {missing.length > 0 && <p class="ke-dim">Still needed: {missing.join(", ")}</p>}
      {missing.length === 0 && checking && !plan && !refusal && <p class="ke-dim">Asking the kernel what this would do …</p>}
      <PlanLines plan={plan} refusal={refusal} limit={LINES} />
    </div>
  );
}

/** What the plan lists, as headed lines; a heading without lines is left out. */
function listsOf(plan: Plan): [string, string[]][] {
  const lists: [string, string[]][] = [
    ["Mind", [...plan.warnings, ...plan.notes]],
    ["Shapes that change", plan.shape_changes.map(([path, before, after]) => `${path}: ${before} → ${after}`)],
    ["Starts afresh", plan.reinitialized],
    ["Copied in part", plan.sliced],
    ["Dropped", plan.dropped],
    ["New names", plan.renamed.map(([before, after]) => `${before} → ${after}`)],
  ];
  return lists.filter(([, lines]) => lines.length > 0);
}

/** What an edit would cost, in a line: `Parameters −128; dropped: left1, left2`. */
export function outcome(plan: Plan): string {
  if (!plan.ok) return plan.errors[0] ?? "";
  const lists: [string, string[]][] = [
    ["dropped", plan.dropped],
    ["starts afresh", plan.reinitialized],
    ["copied in part", plan.sliced],
  ];
  const told = lists.flatMap(([what, names]) => (names.length > 0 ? [`${what}: ${listed(names, NAMES)}`] : []));
  const { params_before: before, params_after: after } = plan;
  return [`Parameters ${before === after ? "as before" : change(before, after, count)}`, ...told].join("; ");
}

/** The plan in words; of each kind as many lines as `limit` says. */
export function PlanLines({ plan, refusal, limit }: { plan: Plan | null; refusal: Refusal | null; limit: number }) {
  return (
    <>
      {refusal && <Errors lines={[refusal.message]} />}
      {plan && (
        <>
          {plan.errors.length > 0 && <Errors lines={plan.errors} />}
          {plan.ok && <Size what="Parameters" before={plan.params_before} after={plan.params_after} />}
          {plan.ok && plan.trainable_before !== plan.trainable_after && (
            <Size what="Trainable" before={plan.trainable_before} after={plan.trainable_after} />
          )}
          {plan.ok && plan.flops_before !== null && plan.flops_after !== null && plan.flops_before !== plan.flops_after && (
            <Size what="Operations for a sample" before={plan.flops_before} after={plan.flops_after} show={operations} />
          )}
          {plan.ok && plan.bytes_before !== plan.bytes_after && (
            <Size what="Memory" before={plan.bytes_before} after={plan.bytes_after} show={bytes} />
          )}
          {listsOf(plan).map(([heading, lines]) => (
            <div key={heading}>
              <p class="ke-dim">{heading}</p>
              <ul>
                {lines.slice(0, limit).map((line) => (
                  <li key={line} dir="auto">
                    {line}
                  </li>
                ))}
                {lines.length > limit && <li class="ke-dim">and {count(lines.length - limit)} more</li>}
              </ul>
            </div>
          ))}
          {plan.ok && plan.code && (
            <code class="ke-plan-code" dir="ltr">
              {shortened(plan.code, limit * 80)}
            </code>
          )}
        </>
      )}
    </>
  );
}

interface SizeProps {
  what: string;
  before: number;
  after: number;
  /** How a number is told; then the change is told in percent. */
  show?: (value: number) => string;
}

function Size({ what, before, after, show = count }: SizeProps) {
  if (before === after) {
    return (
      <p>
        {what} {show(before)} <span class="ke-dim">(no change)</span>
      </p>
    );
  }
  return (
    <p>
      {what} {show(before)} → <strong>{show(after)}</strong> <span class="ke-dim">({change(before, after, show)})</span>
    </p>
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
