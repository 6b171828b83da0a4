import { type ComponentType, render as draw } from "preact";
import { App } from "./App";
import type { Host, Part } from "./host";
import { EditHistory, LayerTable, TrainableToggles, WeightHistograms } from "./Part";
import { Store } from "./store";
import "./widget.css";

const PARTS: Record<Part, ComponentType<{ store: Store }>> = {
  editor: App,
  layers: LayerTable,
  toggles: TrainableToggles,
  histograms: WeightHistograms,
  history: EditHistory,
};

/** Called by anywidget once for each place where the widget is shown; no view shares state with another. */
function render({ model, el }: { model: Host; el: HTMLElement }): () => void {
  const store = new Store(model);
  const Shown = PARTS[store.part];
  draw(<Shown store={store} />, el);
  return () => {
    draw(null, el);
    store.close();
  };
}

export default { render };
