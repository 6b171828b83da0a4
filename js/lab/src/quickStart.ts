// The quick start: a notebook that a new user can run, in a folder of their own.
import { URLExt, PathExt } from "@jupyterlab/coreutils";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, showErrorMessage } from "@jupyterlab/apputils";
import { ILauncher } from "@jupyterlab/launcher";
import { type Contents, ServerConnection } from "@jupyterlab/services";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { modelIcon } from "./icon";

const COMMAND = "kerasedit:open-quick-start";
const FILE = "kerasedit-quickstart.ipynb";

export const quickStart: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:quick-start",
  description: "Opens the quick start of kerasedit.",
  autoStart: true,
  optional: [ILauncher, ICommandPalette, ITranslator],
  activate(app: JupyterFrontEnd, launcher: ILauncher | null, palette: ICommandPalette | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    const category = trans.__("Keras models");
    const { commands, serviceManager } = app;
    const { contents, serverSettings } = serviceManager;

    commands.addCommand(COMMAND, {
      label: trans.__("Keras Quick Start"),
      caption: trans.__("Open a notebook that edits a small trained Keras model"),
      icon: modelIcon,
      describedBy: { args: { type: "object", properties: { cwd: { type: "string", description: "The folder that it is copied to" } } } },
      execute: async ({ cwd }) => {
        const path = PathExt.join((cwd as string | undefined) ?? "", FILE);
        try {
          if (!(await isThere(contents, path))) {
            const content = await notebook(serverSettings);
            await contents.save(path, { type: "notebook", format: "json", content });
          }
          return (await commands.execute("docmanager:open", { path, factory: "Notebook" })) as unknown;
        } catch (problem) {
          await showErrorMessage(trans.__("The quick start cannot be opened"), problem as Error);
        }
      },
    });
    launcher?.add({ command: COMMAND, category: trans.__("Other"), rank: 10 });
    palette?.addItem({ command: COMMAND, category });
  },
};

/** What was begun before is gone on with. */
async function isThere(contents: Contents.IManager, path: string): Promise<boolean> {
  try {
    await contents.get(path, { content: false });
    return true;
  } catch (problem) {
    if (problem instanceof ServerConnection.ResponseError && problem.response.status === 404) return false;
    throw problem;
  }
}

async function notebook(settings: ServerConnection.ISettings): Promise<unknown> {
  const response = await ServerConnection.makeRequest(URLExt.join(settings.baseUrl, "kerasedit", "quickstart"), {}, settings);
  if (!response.ok) throw await ServerConnection.ResponseError.create(response);
  return response.json();
}
