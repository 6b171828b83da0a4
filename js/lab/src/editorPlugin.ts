import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { ReadonlyPartialJSONObject } from "@lumino/coreutils";
import { type EditorArgs, EditorTab } from "./editorTab";
import { addTabs } from "./modelTabs";

/** Models of variables open in tabs, on editors in their kernels. */
export const editors: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:editors",
  description: "Edits the Keras models of a kernel in tabs.",
  autoStart: true,
  optional: [ILayoutRestorer, ITranslator],
  activate(app: JupyterFrontEnd, restorer: ILayoutRestorer | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    addTabs(app, restorer, {
      command: "kerasedit:edit",
      label: trans.__("Edit Keras Model"),
      caption: trans.__("Open the model of a variable in a tab"),
      namespace: "kerasedit-editors",
      properties: {
        kernel: { type: "string", description: "The id of the kernel" },
        variable: { type: "string", description: "The variable that holds a model or an editor" },
        path: { type: "string", description: "The notebook that the tab is put beside" },
        resumed: { type: "boolean", description: "Whether the tab was there before" },
      },
      required: ["kernel", "variable"],
      read,
      key: ({ kernel, variable }) => `${kernel}:${variable}`,
      make: (args) => new EditorTab(args, app.serviceManager, trans),
      place: ({ path }) => beside(app, path),
    });
  },
};

function read({ kernel, variable, path, resumed }: ReadonlyPartialJSONObject): EditorArgs {
  if (typeof kernel !== "string" || typeof variable !== "string") throw new Error("A kernel and a variable are needed.");
  return { kernel, variable, ...(typeof path === "string" && { path }), resumed: resumed === true };
}

/** Right of a notebook, where there is one. */
function beside(app: JupyterFrontEnd, path: string | undefined): DocumentRegistry.IOpenOptions {
  for (const widget of app.shell.widgets("main")) {
    const { context } = widget as { context?: { path: string } };
    if (path !== undefined && context?.path === path) return { mode: "split-right", ref: widget.id };
  }
  return {};
}
