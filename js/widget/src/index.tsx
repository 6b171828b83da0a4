import { render as draw } from "preact";
import { App } from "./App";
import type { Host } from "./host";
import { Store } from "./store";
import "./widget.css";

/** Called by anywidget once for each place where the widget is shown; no view shares state with another. */
function render({ model, el }: { model: Host; el: HTMLElement }): () => void {
  const store = new Store(model);
  draw(<App store={store} />, el);
  return () => {
    draw(null, el);
    store.close();
  };
}

export default { render };
