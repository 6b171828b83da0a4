import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { WidgetTracker } from "@jupyterlab/apputils";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { ReadonlyPartialJSONObject } from "@lumino/coreutils";
import { type EditorArgs, EditorTab } from "./editorTab";

const EDIT = "kerasedit:edit";

/** Models of variables open in tabs, on editors in their kernels. */
export const editors: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:editors",
  description: "Edits the Keras models of a kernel in tabs.",
  autoStart: true,
  optional: [ILayoutRestorer, ITranslator],
  activate(app: JupyterFrontEnd, restorer: ILayoutRestorer | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    const tracker = new WidgetTracker<EditorTab>({ namespace: "kerasedit-editors" });
    const text = (description: string) => ({ type: "string", description });
    app.commands.addCommand(EDIT, {
      label: trans.__("Edit Keras Model"),
      caption: trans.__("Open the model of a variable in a tab"),
      describedBy: {
        args: {
          type: "object",
          properties: {
            kernel: text("The id of the kernel"),
            variable: text("The variable that holds a model or an editor"),
            path: text("The notebook that the tab is put beside"),
            resumed: { type: "boolean", description: "Whether the tab was there before" },
          },
          required: ["kernel", "variable"],
        },
      },
      execute: (given) => {
        const args = readArgs(given);
        const open = tracker.find(({ content }) => content.shows(args));
        const tab = open ?? new EditorTab(args, app.serviceManager, trans);
        if (!open) {
          void tracker.add(tab);
          app.shell.add(tab, "main", beside(app, args.path));
        }
        app.shell.activateById(tab.id);
        return tab;
      },
    });
    void restorer?.restore(tracker, {
      command: EDIT,
      args: ({ content }) => ({ ...content.args, resumed: true }),
      name: ({ content: { args } }) => `${args.kernel}:${args.variable}`,
    });
  },
};

function readArgs({ kernel, variable, path, resumed }: ReadonlyPartialJSONObject): EditorArgs {
  if (typeof kernel !== "string" || typeof variable !== "string") throw new Error("A kernel and a variable are needed.");
  return { kernel, variable, ...(typeof path === "string" && { path }), resumed: resumed === true };
}

/** Right of a notebook, where there is one. */
function beside(app: JupyterFrontEnd, path: string | undefined) {
  for (const widget of app.shell.widgets("main")) {
    const { context } = widget as { context?: { path: string } };
    if (path !== undefined && context?.path === path) return { mode: "split-right", ref: widget.id } as const;
  }
  return {};
}
