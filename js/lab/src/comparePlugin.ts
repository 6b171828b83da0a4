import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { ReadonlyPartialJSONObject } from "@lumino/coreutils";
import { type CompareArgs, CompareContent } from "./compareTab";
import { addTabs, ModelTab } from "./modelTabs";

/** Two models of a kernel are compared in a tab. */
export const comparisons: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:comparisons",
  description: "Shows two Keras models of a kernel side by side.",
  autoStart: true,
  optional: [ILayoutRestorer, ITranslator],
  activate(app: JupyterFrontEnd, restorer: ILayoutRestorer | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    addTabs(app, restorer, {
      command: "kerasedit:diff",
      label: trans.__("Compare Two Keras Models"),
      caption: trans.__("Open the models of two variables side by side"),
      namespace: "kerasedit-comparisons",
      properties: {
        kernel: { type: "string", description: "The id of the kernel" },
        first: { type: "string", description: "A variable that holds a model or an editor" },
        second: { type: "string", description: "Another one" },
      },
      required: ["kernel", "first", "second"],
      read,
      key: ({ kernel, first, second }) => `${kernel}:${first}:${second}`,
      make: (args) => {
        const { first, second } = args;
        const caption = trans.__("What differs between %1 and %2", first, second);
        return new ModelTab(new CompareContent(args, app.serviceManager, trans), `${first} ↔ ${second}`, caption);
      },
    });
  },
};

function read({ kernel, first, second }: ReadonlyPartialJSONObject): CompareArgs {
  if (typeof kernel !== "string" || typeof first !== "string" || typeof second !== "string") {
    throw new Error("A kernel and two variables are needed.");
  }
  return { kernel, first, second };
}
