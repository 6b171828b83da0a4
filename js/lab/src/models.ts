// The plugin of the panel of Keras models and its commands.
import { effect } from "@preact/signals";
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { addCommands, EDIT_MODEL } from "./modelCommands";
import { ModelsPanel } from "./modelsPanel";
import { viewOptions } from "./settings";

/** Below what JupyterLab itself has in a side bar. */
const RANK = 850;

export const models: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:models",
  description: "Lists the Keras models of a kernel.",
  autoStart: true,
  optional: [ILayoutRestorer, ICommandPalette, ITranslator],
  activate(app: JupyterFrontEnd, restorer: ILayoutRestorer | null, palette: ICommandPalette | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    const panel = new ModelsPanel(app, trans, () => {
      if (app.commands.isEnabled(EDIT_MODEL)) void app.commands.execute(EDIT_MODEL);
    });
    app.shell.add(panel, "right", { rank: RANK, type: "Keras Models" });
    restorer?.add(panel, panel.id);
    effect(() => panel.kernels.setFollows(viewOptions.live.value));
    addCommands(app, panel, palette, trans);
  },
};
