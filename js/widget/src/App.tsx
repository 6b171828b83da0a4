import { Bar } from "./Bar";
import { EditPreview } from "./EditPreview";
import { Layers } from "./Layers";
import { Messages } from "./Messages";
import { Palette } from "./Palette";
import { Prune } from "./Prune";
import { Problem, Root } from "./Root";
import type { Store } from "./store";
import { TrainingStrip } from "./TrainingStrip";

export function App({ store }: { store: Store }) {
  const info = store.info.value;
  const task = store.dialog.value;
  return (
    <Root store={store} label="Keras model editor">
      <Bar store={store} />
      {info && !info.editable && info.reason && <p class="ke-notice">{info.reason}</p>}
      <Problem store={store} />
      <TrainingStrip store={store} />
      <Layers store={store} />
      <Messages store={store} />
      <EditPreview store={store} />
      {task && (task.kind === "prune" ? <Prune store={store} task={task} /> : <Palette store={store} task={task} />)}
    </Root>
  );
}
