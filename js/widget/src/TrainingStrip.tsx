import { count } from "../../shared/src/format";
import {
  curvePath,
  describeChange,
  describeCurve,
  describeProgress,
  describeWork,
  doneShare,
  metric,
} from "../../shared/src/training";
import { Button } from "./Button";
import { Icon } from "./Icon";
import type { Store } from "./store";

const CURVE = { width: 100, height: 20 };

/** Where a training stands; when it is over, its last figures. Nothing as long as there was none. */
export function TrainingStrip({ store }: { store: Store }) {
  const { state } = store.training;
  const training = state.value;
  if (!training) return null;
  const running = training.running && !store.dead.value;
  const work = running ? describeWork(training) : "";
  return (
    <section class={`ke-training${running ? " ke-running" : ""}`} role="region" aria-label="Training">
      <div class="ke-training-line">
        <span class="ke-training-where">
          <strong>{running ? "Training" : training.stopped ? "Stopped" : "Trained"}</strong> {describeProgress(training)}
        </span>
        {running && (
          <div
            class="ke-progress"
            role="progressbar"
            aria-label="Training progress"
            aria-valuenow={Math.round(doneShare(training) * 100)}
            aria-valuetext={describeProgress(training)}
          >
            <span style={{ width: `${doneShare(training) * 100}%` }} />
          </div>
        )}
        <span class="ke-training-work" role="status" aria-label="Changes under way">
          {work ? <span class="ke-waiting">{work}</span> : running && describeChange(training)}
        </span>
      </div>
      <div class="ke-training-line">
        <span class="ke-training-metrics">
          {Object.entries(training.metrics).map(([name, value]) => (
            <span key={name} class="ke-total">
              {name} <strong class={typeof value === "string" ? "ke-mark-bad" : undefined}>{metric(value)}</strong>
            </span>
          ))}
        </span>
        <LossCurve store={store} />
        <Scrubber store={store} total={training.total} />
      </div>
      {store.training.alerts.value.map((text) => (
        <div key={text} class="ke-alert" role="alert">
          <Icon name="warning" />
          <p class="ke-alert-text" dir="auto">
            {text}
          </p>
          <Button label={`Dismiss: ${text}`} icon="close" title="Dismiss" onClick={() => store.training.dismiss(text)} />
        </div>
      ))}
    </section>
  );
}

function LossCurve({ store }: { store: Store }) {
  const { values } = store.training.curve.value;
  if (values.length < 2) return null;
  const { width, height } = CURVE;
  const summary = describeCurve(values);
  return (
    <span class="ke-curve" title={summary}>
      <svg role="img" aria-label={summary} viewBox={`0 -1 ${width} ${height + 2}`} preserveAspectRatio="none">
        <path d={curvePath(values, width, height)} vector-effect="non-scaling-stroke" />
      </svg>
    </span>
  );
}

/** The weights of the rows in view as they were at a step. */
function Scrubber({ store, total }: { store: Store; total: number }) {
  const { training } = store;
  const wanted = training.wanted.value;
  const found = training.found.value;
  const text = `step ${count(wanted === null ? total : (found ?? wanted))}`;
  return (
    <span class="ke-scrubber">
      <input
        type="range"
        aria-label="Step of the training"
        aria-valuetext={wanted === null ? `live, ${text}` : text}
        title="The weights as they were at a step of the training"
        min={0}
        max={total}
        value={wanted ?? total}
        disabled={store.dead.value || total === 0}
        onInput={(event) => training.scrub(event.currentTarget.valueAsNumber)}
      />
      <output class="ke-scrubbed">{text}</output>
      <Button
        label="Live"
        title="The weights as they are now"
        pressed={wanted === null}
        disabled={store.dead.value}
        onClick={() => training.scrub(null)}
      >
        Live
      </Button>
    </span>
  );
}
