import { useState } from "preact/hooks";
import { count, plural } from "../../shared/src/format";
import type { ChannelGroup, ChannelGroups, Criterion, Edit } from "../../shared/src/protocol";
import { Alert } from "./Alert";
import { Choice } from "./Choice";
import { Refusal } from "./client";
import { Dialog } from "./Dialog";
import { Asking } from "./Fetched";
import { PlanView } from "./PlanView";
import "./prune.css";
import type { PruneTask, Store } from "./store";
import { useAnswer } from "./useAnswer";
import { useEdit } from "./useEdit";
import { useId } from "./useId";

const CRITERIA: Record<Criterion, string> = {
  l2: "the smallest weights (L2)",
  l1: "the smallest weights (L1)",
  bn_scale: "the smallest batch normalization factors",
  geometric_median: "those most like all others",
  random: "any, by chance",
};

type Less = "fraction" | "params" | "flops" | "size";

const LESS: Record<Less, string> = {
  fraction: "Channels",
  params: "Parameters of the model",
  flops: "Operations for a sample",
  size: "Bytes of the model",
};

/** Channels of layers are taken out, and with them all that is tied to them. */
export function Prune({ store, task }: { store: Store; task: PruneTask }) {
  const [percent, setPercent] = useState(25);
  const [less, setLess] = useState<Less>("fraction");
  const [criterion, setCriterion] = useState<Criterion>("l2");
  const [multiple, setMultiple] = useState("1");
  const [scope, setScope] = useState<"layer" | "global">("layer");
  const id = useId();

  const paths = task.paths ?? [task.path];
  const answer = useAnswer<ChannelGroups>(store, { query: "channels", paths });
  const { groups, total } = answer === null || answer instanceof Refusal ? { groups: [], total: 0 } : answer;
  const more = total - groups.length;
  const one = groups.length === 1 ? groups[0] : undefined;
  const whole = /^[1-9]\d{0,5}$/.test(multiple);
  const edit: Edit | null = whole
    ? {
        edit: "prune_channels",
        target: task.paths ?? task.path,
        [less]: (less === "fraction" ? percent : 100 - percent) / 100,
        criterion,
        multiple_of: Number(multiple),
        scope,
      }
    : null;
  const { plan, refusal, checking, ready, refused, apply } = useEdit(store, edit, () => (store.dialog.value = null));

  return (
    <Dialog
      store={store}
      title="Prune channels"
      about={task.paths ? `of ${plural(paths.length, "layer")}` : `of ${task.path}`}
      path={task.path}
      ready={ready}
      onApply={() => void apply()}
    >
      <div class="ke-ties">
        <h4>What is tied together</h4>
        {answer === null && <Asking />}
        {answer instanceof Refusal && <Alert refusal={answer} />}
        {groups.map((group) => (
          <Tied key={group.makers.join("\n")} group={group} />
        ))}
        {more > 0 && <p class="ke-dim">and {plural(more, "more group")}</p>}
      </div>
      <div class="ke-dialog-main">
        <div class="ke-choice">
          <label for={id}>{LESS[less]} that go</label>
          <div class="ke-slider">
            <input
              id={id}
              type="range"
              min={1}
              max={99}
              autofocus
              value={percent}
              aria-valuetext={`${percent} %`}
              onInput={(event) => setPercent(event.currentTarget.valueAsNumber)}
            />
            <output for={id}>
              {percent} %{one && less === "fraction" && ` of ${count(one.channels)}`}
            </output>
          </div>
        </div>
        <Choice label="The share is of" value={less} options={LESS} onChange={setLess} />
        <Choice label="Remove first" value={criterion} options={CRITERIA} onChange={setCriterion} />
        {groups.length > 1 && (
          <Choice
            label="Of several groups"
            value={scope}
            options={{ layer: "the same share of each", global: "the least of all, wherever they are" }}
            onChange={setScope}
          />
        )}
        <label class="ke-choice">
          <span>Each layer keeps a multiple of</span>
          <input
            class="ke-input"
            inputMode="numeric"
            value={multiple}
            aria-invalid={!whole}
            onInput={(event) => setMultiple(event.currentTarget.value)}
          />
        </label>
        {refused && <Alert refusal={refused} />}
        <PlanView plan={plan} refusal={refusal} checking={checking} missing={whole ? [] : ["a whole number from 1"]} />
      </div>
    </Dialog>
  );
}

function Tied({ group }: { group: ChannelGroup }) {
  return (
    <section class="ke-tied" dir="auto">
      <strong>
        {plural(group.channels, "channel")} of {group.makers.join(", ")}
      </strong>
      {group.reason && <p class="ke-problem">Cannot go: {group.reason}</p>}
      <ul>
        {group.chain.map((line) => (
          <li key={line}>{line}</li>
        ))}
        {group.more > 0 && <li class="ke-dim">and {plural(group.more, "more layer")}</li>}
      </ul>
      {group.mixed.length > 0 && (
        <p class="ke-dim">Of what stays, {group.mixed.join(", ")} makes something else: mean and variance are of all channels.</p>
      )}
    </section>
  );
}
