import { useEffect, useRef } from "preact/hooks";
import { bytes, change, count, operations, plural } from "../../shared/src/format";
import type { Changes, DiffGroup, Differences as Diff } from "../../shared/src/protocol";
import { Alert } from "./Alert";
import { Button } from "./Button";
import "./changes.css";
import { Refusal } from "./client";
import { CodePanel } from "./CodePanel";
import { Asking, Old } from "./Fetched";
import { onwards } from "./onwards";
import type { Store } from "./store";
import { useAnswer, usePatientAnswer } from "./useAnswer";
import { useWalk } from "./useWalk";

export type ChangesTab = "changes" | "diff" | "code";

const TABS: Record<ChangesTab, string> = { changes: "History", diff: "Differences", code: "Script" };

interface Props {
  store: Store;
  tab: ChangesTab;
  onTab: (tab: ChangesTab) => void;
  onClose: () => void;
}

/** What was done, what is different by it, and how Python says so. */
export function ChangesPanel({ store, tab, onTab, onClose }: Props) {
  const tabs = Object.keys(TABS) as ChangesTab[];

  function onKeyDown(event: KeyboardEvent): void {
    const by = onwards(event);
    if (by === 0) return;
    const list = event.currentTarget as HTMLElement;
    const next = (tabs.indexOf(tab) + by + tabs.length) % tabs.length;
    event.preventDefault();
    onTab(tabs[next] ?? tab);
    list.querySelectorAll<HTMLElement>("[role=tab]")[next]?.focus();
  }

  return (
    <div
      class="ke-panel ke-changes"
      role="group"
      aria-label="Changes of the model"
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <div class="ke-group">
        <div class="ke-tabs ke-grow" role="tablist" aria-label="What to show of the changes" onKeyDown={onKeyDown}>
          {tabs.map((name) => (
            <button
              key={name}
              type="button"
              role="tab"
              class="ke-tab"
              aria-selected={name === tab}
              tabIndex={name === tab ? 0 : -1}
              onClick={() => onTab(name)}
            >
              {TABS[name]}
            </button>
          ))}
        </div>
        <Button label={tab === "code" ? "Close code" : "Close changes"} icon="close" onClick={onClose} />
      </div>
      <div class="ke-tab-panel" role="tabpanel" aria-label={TABS[tab]}>
        {tab === "changes" && <History store={store} />}
        {tab === "diff" && <Differences store={store} />}
        {tab === "code" && <CodePanel store={store} />}
      </div>
    </div>
  );
}

/** All steps, those undone too, and the way to each. */
export function History({ store }: { store: Store }) {
  const answer = useAnswer<Changes>(store, { query: "changes" });
  const walk = useWalk<HTMLOListElement>();
  const seen = useRef<number | null>(null);
  const done = answer === null || answer instanceof Refusal ? null : answer.done;

  // The step that holds is in view: at first, and when somebody goes to another.
  useEffect(() => {
    const list = walk.ref.current;
    const here = list?.querySelector<HTMLElement>("[aria-current]");
    if (!list || !here || seen.current === done) return;
    seen.current = done;
    if (here.offsetTop < list.scrollTop || here.offsetTop + here.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = here.offsetTop + here.offsetHeight - list.clientHeight;
    }
  }, [done]);

  if (answer === null) return <Asking />;
  if (answer instanceof Refusal) return <Alert refusal={answer} />;
  const { first, steps, total } = answer;
  const after = total - (first + steps.length - 1);
  return (
    <>
      <ol class="ke-steps" aria-label="History" {...walk}>
        <Step store={store} number={0} done={answer.done} label="The source model" code="" />
        {first > 1 && <li class="ke-dim ke-step-gap">{plural(first - 1, "step")} not shown</li>}
        {steps.map(({ label, code }, i) => (
          <Step key={first + i} store={store} number={first + i} done={answer.done} label={label} code={code} />
        ))}
        {after > 0 && <li class="ke-dim ke-step-gap">{plural(after, "undone step")} not shown</li>}
      </ol>
      {total === 0 && <p class="ke-dim">Nothing was changed yet. Each edit is listed here, with the line of Python that makes it.</p>}
    </>
  );
}

interface StepProps {
  store: Store;
  number: number;
  done: number;
  label: string;
  code: string;
}

function Step({ store, number, done, label, code }: StepProps) {
  const here = number === done;
  const name = here ? `Now at ${number}` : `${number < done ? "Undo" : "Redo"} to ${number}`;
  return (
    <li class={`ke-step${number > done ? " ke-undone" : ""}`} aria-current={here ? "step" : undefined}>
      <span class="ke-step-number">{number}</span>
      <span class="ke-step-text">
        <span dir="auto">{label}</span>
        {number > done && <span class="ke-mark">undone</span>}
        {code && (
          <code class="ke-step-code" dir="ltr">
            {code}
          </code>
        )}
      </span>
      <Button label={name} tabIndex={-1} disabled={here || store.dead.value} onClick={() => store.stepTo(number)}>
        {name}
      </Button>
    </li>
  );
}

const GROUPS: Record<DiffGroup["kind"], [heading: string, mark: string]> = {
  added: ["Added", "+"],
  removed: ["Removed", "−"],
  replaced: ["Replaced", "~"],
  renamed: ["Renamed", "~"],
  reconfigured: ["Other arguments", "~"],
  rewired: ["Other wiring", "~"],
  weights: ["Weights", "~"],
  flags: ["Trainable flags", "~"],
};

/** What differs between the source and the edited model, kind by kind. */
function Differences({ store }: { store: Store }) {
  const { answer, old, again } = usePatientAnswer<Diff>(store, { query: "diff" });
  const walk = useWalk<HTMLDivElement>();
  if (answer === null) return <Asking />;
  if (answer instanceof Refusal) return <Alert refusal={answer} />;
  const { before, after, groups } = answer;
  return (
    <>
      {old && <Old what="These differences" again={again} />}
      <p class="ke-totals">
        <Figure name="Parameters" before={before.params} after={after.params} />
        <Figure name="Trainable" before={before.trainable} after={after.trainable} />
        <Figure name="Memory" before={before.bytes} after={after.bytes} show={bytes} />
        {before.flops !== null && after.flops !== null && (
          <Figure name="Operations for a sample" before={before.flops} after={after.flops} show={operations} />
        )}
      </p>
      {groups.length === 0 ? (
        <p class="ke-dim">Nothing differs from the source.</p>
      ) : (
        <div class="ke-differences" {...walk}>
          {groups.map((group) => (
            <Group key={group.kind} store={store} group={group} />
          ))}
        </div>
      )}
    </>
  );
}

interface FigureProps {
  name: string;
  before: number;
  after: number;
  /** How a number is told; then the change is told in percent. */
  show?: (value: number) => string;
}

function Figure({ name, before, after, show = count }: FigureProps) {
  return (
    <span class="ke-total">
      {name} {before !== after && `${show(before)} → `}
      <strong>{show(after)}</strong> ({change(before, after, show)})
    </span>
  );
}

function Group({ store, group }: { store: Store; group: DiffGroup }) {
  const { kind, total, items } = group;
  const [heading, mark] = GROUPS[kind];
  return (
    <>
      <h4 class="ke-difference-kind">
        {heading} <span class="ke-dim">{count(total)}</span>
      </h4>
      <ul aria-label={heading}>
        {items.map(({ label, detail, path }, i) => (
          <li key={i} class={`ke-difference ke-difference-${kind}`}>
            <span aria-hidden="true">{mark}</span>
            {path === null ? (
              <span dir="auto">{label}</span>
            ) : (
              <button
                type="button"
                class="ke-link"
                dir="auto"
                tabIndex={-1}
                title={`Go to ${path}`}
                onClick={() => store.goTo(path)}
              >
                {label}
              </button>
            )}
            <span class="ke-dim" dir="auto">
              {detail}
            </span>
          </li>
        ))}
        {total > items.length && <li class="ke-dim">and {count(total - items.length)} more</li>}
      </ul>
    </>
  );
}
