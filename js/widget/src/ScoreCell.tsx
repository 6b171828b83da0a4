import { signed } from "../../shared/src/format";
import type { Row } from "../../shared/src/protocol";
import "./score.css";
import type { Store } from "./store";

/** What was found of a layer: a number, and a bar from zero on, on one scale for all rows. */
export function ScoreCell({ store, row }: { store: Store; row: Row }) {
  const { scores } = store;
  if (!scores.value) return null;
  const { label, range } = scores.value;
  const { score } = row;
  const told = score === undefined ? undefined : `${label}: ${signed(score)}`;
  return (
    <span role="gridcell" class="ke-cell ke-score" title={told} aria-label={told}>
      {score !== undefined && (
        <>
          <Bar value={score} range={range} />
          <span class="ke-number">{signed(score)}</span>
        </>
      )}
    </span>
  );
}

function Bar({ value, range: [least, most] }: { value: number; range: [number, number] }) {
  const percent = (part: number) => `${(100 * part) / (most - least || 1)}%`;
  return (
    <span class="ke-score-bar" aria-hidden="true">
      <span class="ke-zero" style={{ insetInlineStart: percent(-least) }} />
      <span
        class={value < 0 ? "ke-less" : undefined}
        style={{ insetInlineStart: percent(Math.min(0, value) - least), width: percent(Math.abs(value)) }}
      />
    </span>
  );
}
