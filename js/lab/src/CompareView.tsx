import { type ReadonlySignal, useSignal } from "@preact/signals";
import type { TranslationBundle } from "@jupyterlab/translation";
import { useLayoutEffect, useRef } from "preact/hooks";
import { change, count } from "../../shared/src/format";
import { Button } from "../../widget/src/Button";
import { type ComparedLayer, type ComparedModel, type Comparison, differs, type Line, nextDifference, type Shown, shownLines } from "./comparison";

const ROW = 28;
/** Lines that are drawn beyond each edge of what is in view. */
const OVERSCAN = 20;

export interface Compared {
  told: ReadonlySignal<Comparison | null>;
  /** Why what is shown is not of now, or nothing is. */
  note: ReadonlySignal<string | null>;
  names: readonly [first: string, second: string];
}

interface Props {
  compared: Compared;
  onAgain: () => void;
  trans: TranslationBundle;
}

/** Two models side by side: each line has a layer and its like. */
export function CompareView({ compared, onAgain, trans }: Props) {
  const onlyDifferences = useSignal(false);
  const chosen = useSignal(0);
  const told = compared.told.value;
  const note = compared.note.value;
  if (!told) return <p class="ke-tab-message" role="status">{note ?? trans.__("Waiting for the kernel …")}</p>;

  const { lines, models, whole, found } = told;
  const shown = shownLines(lines, onlyDifferences.value);
  const line = lines[chosen.value];
  const go = (by: 1 | -1) => {
    const next = nextDifference(lines, chosen.value, by);
    if (next !== null) chosen.value = next;
  };
  const none = !lines.some(differs);

  return (
    <section class="ke-root ke-compare" role="region" aria-label={trans.__("Two Keras models")}>
      <header class="ke-bar">
        <div class="ke-bar-row">
          <span class="ke-compare-sum" role="status" aria-label={trans.__("Differences")}>
            {summary(found, trans)}
          </span>
          <span class="ke-spacer" />
          <label class="ke-compare-only">
            <input
              type="checkbox"
              checked={onlyDifferences.value}
              onChange={(event) => (onlyDifferences.value = event.currentTarget.checked)}
            />
            <span>{trans.__("Only what differs")}</span>
          </label>
          <span class="ke-group">
            <Button label={trans.__("Previous difference")} disabled={none} onClick={() => go(-1)}>
              {trans.__("Previous")}
            </Button>
            <Button label={trans.__("Next difference")} disabled={none} onClick={() => go(1)}>
              {trans.__("Next")}
            </Button>
            <Button label={trans.__("Compare again")} icon="refresh" onClick={onAgain} />
          </span>
        </div>
        {[...(note === null ? [] : [note]), ...whole].map((text) => (
          <p key={text} class="ke-notice" dir="auto">
            {text}
          </p>
        ))}
      </header>
      <div class="ke-compare-line ke-compare-head" aria-hidden="true">
        <Head variable={compared.names[0]} model={models[0]} />
        <Head variable={compared.names[1]} model={models[1]} before={models[0].params} />
      </div>
      <Lines lines={lines} shown={shown} chosen={chosen.value} onChoose={(at) => (chosen.value = at)} trans={trans} />
      <div class="ke-compare-words" role="status" aria-label={trans.__("What differs in the line")}>
        {line && <Words line={line} trans={trans} />}
      </div>
    </section>
  );
}

function summary(found: Comparison["found"], trans: TranslationBundle): string {
  const all = found.reduce((sum, [, number]) => sum + number, 0);
  if (all === 0) return trans.__("No differences");
  const kinds = found.map(([kind, number]) => `${kind} ${count(number)}`).join(", ");
  return trans._n("%1 difference: %2", "%1 differences: %2", all, kinds);
}

function Head({ variable, model, before }: { variable: string; model: ComparedModel; before?: number }) {
  const { params } = model;
  return (
    <span class="ke-compare-side" dir="auto">
      <strong>{variable}</strong>
      <span class="ke-dim">{model.class_name}</span>
      <span class="ke-compare-params">
        {count(params)}
        {before !== undefined && before !== params && ` (${change(before, params, count)})`}
      </span>
    </span>
  );
}

interface LinesProps {
  lines: readonly Line[];
  shown: readonly Shown[];
  chosen: number;
  onChoose: (line: number) => void;
  trans: TranslationBundle;
}

/** Of many lines those in view are drawn. */
function Lines({ lines, shown, chosen, onChoose, trans }: LinesProps) {
  const box = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = box.current?.clientHeight ?? 600;
  const first = Math.max(0, Math.floor(top.value / ROW) - OVERSCAN);
  const last = Math.min(shown.length, Math.ceil((top.value + height) / ROW) + OVERSCAN);
  const place = shown.findIndex((one) => "line" in one && one.line === chosen);

  useLayoutEffect(() => {
    const list = box.current;
    if (!list || place < 0) return;
    const above = place * ROW;
    const hadFocus = list.contains(document.activeElement);
    if (above < list.scrollTop || above + ROW > list.scrollTop + list.clientHeight) {
      list.scrollTop = above - (list.clientHeight - ROW) / 2;
    }
    if (hadFocus) queueMicrotask(() => list.querySelector<HTMLElement>("[aria-selected=true]")?.focus({ preventScroll: true }));
  }, [place, shown.length]);

  function onKeyDown(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(height / ROW) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length };
    const by = steps[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(shown.length - 1, place + by));
    // What is left out has no line of its own.
    const there = by > 0 ? [...shown.slice(to), ...shown.slice(0, to).reverse()] : [...shown.slice(0, to + 1).reverse(), ...shown.slice(to)];
    const next = there.find((one): one is { line: number } => "line" in one);
    if (next) onChoose(next.line);
  }

  return (
    <div
      ref={box}
      class="ke-compare-lines"
      role="listbox"
      aria-label={trans.__("Layers of both models")}
      tabIndex={place < 0 ? 0 : -1}
      onScroll={(event) => (top.value = event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div style={{ height: shown.length * ROW }} role="presentation">
        {shown.slice(first, last).map((one, i) => {
          const style = { top: (first + i) * ROW };
          if ("alike" in one) {
            return (
              <div key={`alike ${first + i}`} class="ke-compare-alike ke-dim" role="presentation" style={style}>
                {trans._n("%1 layer alike", "%1 layers alike", one.alike)}
              </div>
            );
          }
          const line = lines[one.line];
          return (
            line && (
              <div
                key={one.line}
                class={`ke-compare-line ke-compare-${kindOf(line)}`}
                role="option"
                aria-label={nameOf(line, trans)}
                aria-selected={one.line === chosen}
                aria-posinset={one.line + 1}
                aria-setsize={lines.length}
                tabIndex={one.line === chosen ? 0 : -1}
                style={style}
                onClick={() => onChoose(one.line)}
              >
                <Layer layer={line[0]} />
                <Layer layer={line[1]} />
              </div>
            )
          );
        })}
      </div>
    </div>
  );
}

function kindOf([first, second, words]: Line): string {
  if (first === null) return "added";
  if (second === null) return "removed";
  return words.length > 0 ? "changed" : "same";
}

function nameOf(line: Line, trans: TranslationBundle): string {
  const [first, second, words] = line;
  if (first === null) return trans.__("%1: only in the second", second?.path ?? "");
  if (second === null) return trans.__("%1: only in the first", first.path);
  const name = first.path === second.path ? first.path : `${first.path}, ${second.path}`;
  return words.length > 0 ? trans.__("%1: %2", name, words.join("; ")) : trans.__("%1: alike", name);
}

function Layer({ layer }: { layer: ComparedLayer | null }) {
  if (!layer) return <span class="ke-compare-side ke-compare-none" />;
  return (
    <span class="ke-compare-side" title={layer.path} style={{ paddingInlineStart: 8 + (layer.level - 1) * 14 }}>
      <span class="ke-name" dir="auto">
        {layer.name}
      </span>
      <span class={`ke-type ke-family-${layer.family}`}>
        <span>{layer.class_name}</span>
      </span>
      <span class="ke-compare-shape ke-shape">{layer.shape}</span>
      <span class="ke-compare-params">{layer.params > 0 ? count(layer.params) : ""}</span>
    </span>
  );
}

function Words({ line, trans }: { line: Line; trans: TranslationBundle }) {
  const [first, second, words] = line;
  const title = [first?.path, second?.path].filter((path, i, all) => path !== undefined && all.indexOf(path) === i).join(" → ");
  return (
    <>
      <strong dir="auto">{title}</strong>
      {first === null && <p>{trans.__("Only in the second model, or elsewhere in the first.")}</p>}
      {second === null && <p>{trans.__("Only in the first model, or elsewhere in the second.")}</p>}
      {first && second && words.length === 0 && <p class="ke-dim">{trans.__("Alike")}</p>}
      <ul>
        {words.map((text) => (
          <li key={text} dir="auto">
            {text}
          </li>
        ))}
      </ul>
    </>
  );
}
