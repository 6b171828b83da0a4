import { describeHistogram, histogramPath } from "../../shared/src/histogram";
import { BINS, type Store } from "./store";

const HEIGHT = 20;

export function HistogramCell({ store, path }: { store: Store; path: string }) {
  const histogram = store.histograms.value.get(path);
  if (!histogram) return null;
  const summary = describeHistogram(path, histogram);
  const bad = histogram.nans + histogram.infs > 0;
  return (
    <span class="ke-histogram" title={summary}>
      <svg role="img" aria-label={summary} viewBox={`0 0 ${BINS} ${HEIGHT}`} preserveAspectRatio="none">
        <path d={histogramPath(histogram.counts, HEIGHT)} />
      </svg>
      {bad && <span class="ke-mark ke-mark-bad">{histogram.nans > 0 ? "NaN" : "Inf"}</span>}
    </span>
  );
}
