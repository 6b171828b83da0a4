// What a user has set, for whoever shows models. It holds at once.
import { signal } from "@preact/signals";
import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { USUAL, type ViewOptions } from "../../widget/src/store";
import "./families.css";

/** Of every view in a tab. */
export const viewOptions = { bins: signal(USUAL.bins.value), live: signal(USUAL.live.value) } satisfies ViewOptions;

export const settings: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:settings",
  description: "Settings of Keras models.",
  autoStart: true,
  requires: [ISettingRegistry],
  async activate(_, registry: ISettingRegistry) {
    const settings = await registry.load("kerasedit:settings");
    const read = () => {
      const { bins, families, live } = settings.composite;
      viewOptions.bins.value = bins as number;
      viewOptions.live.value = live as boolean;
      // Also for the widgets in cells, whose style is the page's.
      document.body.dataset["keFamilies"] = families as string;
    };
    settings.changed.connect(read);
    read();
  },
};
