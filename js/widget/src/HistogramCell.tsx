import { describeHistogram, histogramPath, updateStrength } from "../../shared/src/histogram";
import type { Store } from "./store";

const HEIGHT = 20;

export function HistogramCell({ store, path }: { store: Store; path: string }) {
  const histogram = store.training.histogram(path, store.histograms.value);
  if (!histogram) return null;
  const summary = describeHistogram(path, histogram);
  const bad = histogram.nans + histogram.infs > 0;
  return (
    // The keyboard has Enter for it, and a button stands in the row.
    <span class="ke-histogram" title={summary} onClick={() => (store.opened.value = path)}>
      <svg role="img" aria-label={summary} viewBox={`0 0 ${histogram.counts.length} ${HEIGHT}`} preserveAspectRatio="none">
        <path d={histogramPath(histogram.counts, HEIGHT)} />
      </svg>
      {"update" in histogram && (
        <span class="ke-update">
          <span style={{ height: `${updateStrength(histogram.update) * 100}%` }} />
        </span>
      )}
      {bad && <span class="ke-mark ke-mark-bad">{histogram.nans > 0 ? "NaN" : "Inf"}</span>}
    </span>
  );
}
