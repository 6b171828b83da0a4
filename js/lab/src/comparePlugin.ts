import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { WidgetTracker } from "@jupyterlab/apputils";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { ReadonlyPartialJSONObject } from "@lumino/coreutils";
import { type CompareArgs, CompareTab } from "./compareTab";

const DIFF = "kerasedit:diff";

/** Two models of a kernel are compared in a tab. */
export const comparisons: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:comparisons",
  description: "Shows two Keras models of a kernel side by side.",
  autoStart: true,
  optional: [ILayoutRestorer, ITranslator],
  activate(app: JupyterFrontEnd, restorer: ILayoutRestorer | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    const tracker = new WidgetTracker<CompareTab>({ namespace: "kerasedit-comparisons" });
    const text = (description: string) => ({ type: "string", description });
    app.commands.addCommand(DIFF, {
      label: trans.__("Compare Two Keras Models"),
      describedBy: {
        args: {
          type: "object",
          properties: {
            kernel: text("The id of the kernel"),
            first: text("A variable that holds a model or an editor"),
            second: text("Another one"),
          },
          required: ["kernel", "first", "second"],
        },
      },
      execute: (given) => {
        const args = readArgs(given);
        const open = tracker.find(({ content }) => content.shows(args));
        const tab = open ?? new CompareTab(args, app.serviceManager, trans);
        if (!open) {
          void tracker.add(tab);
          app.shell.add(tab, "main");
        }
        app.shell.activateById(tab.id);
        return tab;
      },
    });
    void restorer?.restore(tracker, {
      command: DIFF,
      args: ({ content }) => ({ ...content.args }),
      name: ({ content: { args } }) => `${args.kernel}:${args.first}:${args.second}`,
    });
  },
};

function readArgs({ kernel, first, second }: ReadonlyPartialJSONObject): CompareArgs {
  if (typeof kernel !== "string" || typeof first !== "string" || typeof second !== "string") {
    throw new Error("A kernel and two variables are needed.");
  }
  return { kernel, first, second };
}
