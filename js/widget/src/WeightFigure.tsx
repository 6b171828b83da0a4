import { describeWeight, showShape, type Weight, zeroOn } from "../../shared/src/detail";
import { bytes, count, figure, plural } from "../../shared/src/format";
import { type Histogram, histogramPath } from "../../shared/src/histogram";
import type { Found } from "../../shared/src/protocol";
import { Button } from "./Button";
import { copyText } from "./copyText";
import "./detail.css";
import { Icon } from "./Icon";
import type { Store } from "./store";

const HEIGHT = 90;

interface Props {
  store: Store;
  weight: Weight;
  /** Whether counts are drawn on a logarithmic scale. */
  log: boolean;
  /** Whether there is a source to compare with. */
  compared: boolean;
}

/** One weight: its histogram over the source's, its figures, and what is odd about it. */
export function WeightFigure({ store, weight, log, compared }: Props) {
  const { path, name, now, then } = weight;
  return (
    <section class="ke-weight" aria-label={`Weight ${path}`}>
      <header class="ke-weight-head">
        <strong dir="auto">{name}</strong>
        <span class="ke-dim">
          {showShape(weight.shape)} {weight.dtype}, {bytes(weight.bytes)}, {weight.trainable ? "trainable" : "frozen"}
        </span>
        <Button
          label={`Copy path of ${path}`}
          icon="copy"
          onClick={(event) => {
            void copyText(path, event.currentTarget as HTMLElement).then(() => (store.report.value = [`Copied ${path}`]));
          }}
        />
      </header>
      {now && <Bad histogram={now} first={weight.first_bad} />}
      {weight.notes?.map((note) => (
        <p key={note} class="ke-notice">
          {note}
        </p>
      ))}
      {now ? (
        <>
          <div class="ke-weight-body">
            <div>
              <Plot weight={weight} log={log} />
              {compared && <Legend weight={weight} />}
            </div>
            <FigureTable now={now} then={then} path={path} />
          </div>
          <Ends title="Smallest" found={weight.smallest} />
          <Ends title="Largest" found={weight.largest} />
        </>
      ) : (
        <p class="ke-dim">It holds no numbers that could be drawn.</p>
      )}
    </section>
  );
}

/** Loud, and still no alert: it is not news, and comes again with each look. */
function Bad({ histogram: { nans, infs, size }, first }: { histogram: Histogram; first: readonly number[] | null | undefined }) {
  if (nans + infs === 0) return null;
  const kinds = [nans > 0 && `${count(nans)} NaN`, infs > 0 && `${count(infs)} Inf`].filter(Boolean);
  return (
    <p class="ke-alert ke-weight-bad">
      <Icon name="warning" />
      <span>
        <strong>{kinds.join(" and ")}</strong> among {plural(size, "value")}
        {first && `, the first at ${showIndex(first)}`}
      </span>
    </p>
  );
}

/** Numbers read from left to right, whatever the page does. */
function Plot({ weight, log }: { weight: Weight; log: boolean }) {
  const { now, then, edges } = weight;
  if (!now || !edges) return null;
  const scaled = (counts: Float32Array) => (log ? counts.map(Math.log1p) : counts);
  const bars = scaled(now.counts);
  const outline = then && scaled(then.counts);
  const top = Math.max(...bars, ...(outline ?? []));
  const most = Math.max(...now.counts, ...(then?.counts ?? []));
  const zero = zeroOn(edges);
  return (
    <div class="ke-plot" dir="ltr">
      <svg
        role="img"
        aria-label={describeWeight(weight)}
        viewBox={`0 0 ${bars.length} ${HEIGHT}`}
        height={HEIGHT}
        preserveAspectRatio="none"
      >
        {zero !== null && <path class="ke-plot-zero" d={`M${zero * bars.length} 0V${HEIGHT}`} />}
        <path class="ke-plot-now" d={histogramPath(bars, HEIGHT, top)} />
        {outline && <path class="ke-plot-then" d={histogramPath(outline, HEIGHT, top)} />}
      </svg>
      <span class="ke-plot-top">
        {count(most)}
        {log && ", log"}
      </span>
      <div class="ke-axis">
        <span>{figure(edges[0])}</span>
        {zero !== null && zero > 0.15 && zero < 0.85 && <span style={{ left: `${zero * 100}%` }}>0</span>}
        <span>{figure(edges[1])}</span>
      </div>
    </div>
  );
}

function Legend({ weight: { source, before, shape } }: { weight: Weight }) {
  if (!before) return <p class="ke-legend">{source === "same" ? "As in the source" : "Not in the source"}</p>;
  const reshaped = showShape(before.shape) !== showShape(shape);
  return (
    <p class="ke-legend">
      <span class="ke-legend-now">now</span>
      <span class="ke-legend-then">source{reshaped && ` ${showShape(before.shape)}`}</span>
    </p>
  );
}

const FIGURES = ["mean", "std", "min", "max"] as const;
const COUNTS = { zeros: "zeros", nans: "NaN", infs: "Inf" } as const;

function FigureTable({ now, then, path }: { now: Histogram; then: Histogram | null; path: string }) {
  const columns = then ? [now, then] : [now];
  const share = ({ size }: Histogram, n: number) => `${count(n)}${n > 0 ? ` (${figure((n / size) * 100)} %)` : ""}`;
  return (
    <table class="ke-figures" aria-label={`Figures of ${path}`}>
      {then && (
        <thead>
          <tr>
            <td />
            <th scope="col">now</th>
            <th scope="col">source</th>
          </tr>
        </thead>
      )}
      <tbody>
        {FIGURES.map((name) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {columns.map((column, i) => (
              <td key={i}>{figure(column[name])}</td>
            ))}
          </tr>
        ))}
        {(Object.keys(COUNTS) as (keyof typeof COUNTS)[]).map((name) => (
          <tr key={name}>
            <th scope="row">{COUNTS[name]}</th>
            {columns.map((column, i) => (
              <td key={i}>{share(column, column[name])}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Ends({ title, found }: { title: string; found: readonly Found[] | undefined }) {
  if (!found?.length) return null;
  return (
    <p class="ke-ends">
      <span class="ke-dim">{title}</span>
      {found.map(([value, index], i) => (
        <span key={index.join()}>
          {figure(value)} <span class="ke-dim">{showIndex(index)}</span>
          {i < found.length - 1 && ","}
        </span>
      ))}
    </p>
  );
}

function showIndex(index: readonly number[]): string {
  return `[${index.join(", ")}]`;
}
