import { Bar } from "./Bar";
import { EditPreview } from "./EditPreview";
import { Layers } from "./Layers";
import { Messages } from "./Messages";
import { Palette } from "./Palette";
import { Problem, Root } from "./Root";
import type { Store } from "./store";
import { TrainingStrip } from "./TrainingStrip";

export function App({ store }: { store: Store }) {
  const info = store.info.value;
  return (
    <Root store={store} label="Keras model editor">
      <Bar store={store} />
      {info && !info.editable && info.reason && <p class="ke-notice">{info.reason}</p>}
      <Problem store={store} />
      <TrainingStrip store={store} />
      <Layers store={store} />
      <Messages store={store} />
      <EditPreview store={store} />
      {store.palette.value && <Palette store={store} task={store.palette.value} />}
    </Root>
  );
}
