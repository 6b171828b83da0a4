// What can be done with the models of a kernel: from the panel, the palette, menus and by keys.
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, type ICommandPalette, InputDialog, Notification, showDialog, showErrorMessage } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Widget } from "@lumino/widgets";
import { inWords } from "./ask";
import { modelIcon } from "./icon";
import type { KernelModels, ModelRow } from "./kernelModels";
import type { ModelsPanel } from "./modelsPanel";

/** Those of other plugins, which may not be there. */
const EDIT = "kerasedit:edit";
const DIFF = "kerasedit:diff";

const NONE = { type: "object", properties: {} } as const;
const ASKING = {
  type: "object",
  properties: { ask: { type: "boolean", description: "Ask which model, in place of the one that the panel is on" } },
} as const;

export const EDIT_MODEL = "kerasedit:edit-model";

/** What is used of a notebook. */
interface Notebook extends Widget {
  content: Widget & {
    activeCellIndex: number;
    model: { sharedModel: { insertCell(index: number, cell: object): void } };
  };
}

interface Chosen {
  kernel: KernelModels;
  model: ModelRow;
}

export function addCommands(app: JupyterFrontEnd, panel: ModelsPanel, palette: ICommandPalette | null, trans: TranslationBundle): void {
  const { commands, shell } = app;
  const category = trans.__("Keras models");

  /** The model that the panel is on, or by `ask` one that is asked for. */
  async function choose(asks: boolean, title: string, fits: (model: ModelRow) => boolean): Promise<Chosen | null> {
    const { kernel, current } = panel;
    if (!kernel) return null;
    if (!asks) return current && fits(current) ? { kernel, model: current } : null;
    const known = await kernel.latest();
    const models = known.is === "models" ? known.models.filter(fits) : [];
    const model = models.length > 1 ? await pick(title, models) : models[0];
    if (models.length === 0) {
      const body =
        known.is === "nothing" && !kernel.dead.peek()
          ? trans.__("The kernel is busy, and has not told yet which models it has. Try again when it is free.")
          : trans.__("No variable of the kernel holds such a model.");
      await showDialog({ title, body, buttons: [Dialog.okButton()] });
    }
    return model ? { kernel, model } : null;
  }

  async function pick(title: string, models: readonly ModelRow[]): Promise<ModelRow | undefined> {
    const items = models.map(({ variable }) => variable);
    const { button, value } = await InputDialog.getItem({ title, items, label: trans.__("Variable") });
    return button.accept ? models.find(({ variable }) => variable === value) : undefined;
  }

  interface Described {
    id: string;
    label: string;
    /** As it is called where it first asks which model. */
    asking: string;
    fits?: (model: ModelRow) => boolean;
    isPossible?: () => boolean;
    run: (chosen: Chosen) => unknown;
  }

  function add({ id, label, asking, fits = () => true, isPossible = () => true, run }: Described): void {
    commands.addCommand(id, {
      label: ({ ask }) => (ask ? asking : label),
      describedBy: { args: ASKING },
      isEnabled: ({ ask }) => {
        const { kernel, current } = panel;
        return isPossible() && (ask ? kernel !== null : current !== null && fits(current));
      },
      execute: async ({ ask }) => {
        const chosen = await choose(ask === true, asking, fits);
        if (!chosen) return;
        try {
          await run(chosen);
        } catch (problem) {
          await showErrorMessage(asking, inWords(problem as Error, chosen.kernel.kernel.name, trans));
        }
      },
    });
    palette?.addItem({ command: id, category, args: { ask: true } });
  }

  const isBuilt = ({ structure }: ModelRow) => structure !== "unbuilt";

  add({
    id: EDIT_MODEL,
    label: trans.__("Edit in a Tab"),
    asking: trans.__("Edit a Keras Model in a Tab…"),
    fits: isBuilt,
    isPossible: () => commands.hasCommand(EDIT),
    run: ({ kernel, model }) => commands.execute(EDIT, { kernel: kernel.kernel.id, variable: model.variable, path: pathOf(panel) }),
  });

  add({
    id: "kerasedit:insert-cell",
    label: trans.__("Insert a Cell That Edits It"),
    asking: trans.__("Insert a Cell That Edits a Keras Model…"),
    fits: isBuilt,
    isPossible: () => isNotebook(panel.kernels.widget.peek()),
    run: ({ model }) => {
      const notebook = panel.kernels.widget.peek();
      if (!isNotebook(notebook)) return;
      const index = notebook.content.activeCellIndex + 1;
      const cell = { cell_type: "code", source: editing(model, panel.models), metadata: { trusted: true } };
      notebook.content.model.sharedModel.insertCell(index, cell);
      notebook.content.activeCellIndex = index;
      shell.activateById(notebook.id);
    },
  });

  add({
    id: "kerasedit:inspect-model",
    label: trans.__("Inspect"),
    asking: trans.__("Inspect a Keras Model…"),
    run: ({ model: { variable } }) => {
      const open = panel.opened.peek() === variable && panel.isVisible;
      panel.active.value = variable;
      panel.opened.value = open ? null : variable;
      shell.activateById(panel.id);
    },
  });

  add({
    id: "kerasedit:compare-models",
    label: trans.__("Compare With…"),
    asking: trans.__("Compare Two Keras Models…"),
    isPossible: () => commands.hasCommand(DIFF),
    run: async ({ kernel, model: first }) => {
      const others = panel.models.filter(({ number }) => number !== first.number);
      const title = trans.__("Compare '%1' With", first.variable);
      if (others.length === 0) {
        await showDialog({ title, body: trans.__("No other variable of the kernel holds a model."), buttons: [Dialog.okButton()] });
        return;
      }
      const second = await pick(title, others);
      if (second) await commands.execute(DIFF, { kernel: kernel.kernel.id, first: first.variable, second: second.variable });
    },
  });

  add({
    id: "kerasedit:hand-back",
    label: trans.__("Hand Back…"),
    asking: trans.__("Hand Back an Edited Keras Model…"),
    fits: ({ proposed }) => proposed !== null,
    run: (chosen) => handBack(chosen, trans),
  });

  commands.addCommand("kerasedit:refresh-models", {
    label: trans.__("Refresh Models"),
    describedBy: { args: NONE },
    isEnabled: () => panel.kernel !== null,
    execute: () => panel.kernel?.refresh(),
  });
  palette?.addItem({ command: "kerasedit:refresh-models", category });

  commands.addCommand("kerasedit:show-models", {
    label: trans.__("Keras Models"),
    caption: trans.__("Show the Keras models among the variables of the kernel"),
    icon: modelIcon,
    describedBy: { args: NONE },
    execute: () => shell.activateById(panel.id),
  });
  palette?.addItem({ command: "kerasedit:show-models", category });
}

/** Asks for a variable until it can be taken, as the editor does. */
async function handBack({ kernel, model }: Chosen, trans: TranslationBundle): Promise<void> {
  const title = trans.__("Hand Back the Edited Copy of '%1'", model.variable);
  let text = model.proposed ?? "";
  for (;;) {
    const { button, value } = await InputDialog.getText({ title, text, label: trans.__("Variable that gets it"), okLabel: trans.__("Hand Back") });
    text = value?.trim() ?? "";
    if (!button.accept || text === "") return;
    const note = kernel.busy.peek() && Notification.emit(trans.__("The kernel is busy. The model is handed back when it is free."), "in-progress", { autoClose: false });
    let answer = await kernel.handBack(model, text, false).finally(() => note && Notification.dismiss(note));
    if (answer.error?.hint === "model") {
      const replace = Dialog.warnButton({ label: trans.__("Replace") });
      const buttons = [Dialog.cancelButton({ label: trans.__("Keep") }), replace];
      const { button: said } = await showDialog({ title: trans.__("Replace '%1'?", text), body: answer.error.message, buttons, defaultButton: 0 });
      if (!said.accept) continue;
      answer = await kernel.handBack(model, text, true);
    }
    if (answer.ok) {
      Notification.success(trans.__("The edited model is now the variable %1.", answer.ok.name), { autoClose: 4000 });
      return;
    }
    await showErrorMessage(title, answer.error?.message ?? "");
  }
}

/** What a cell needs to show the editor of a variable. */
function editing({ kind, variable }: ModelRow, models: readonly ModelRow[]): string {
  if (kind === "editor") return variable;
  const taken = new Set(models.map((model) => model.variable));
  let name = "ed";
  for (let number = 2; taken.has(name); number++) name = `ed${number}`;
  return `import kerasedit\n\n${name} = kerasedit.Editor(${variable})\n${name}`;
}

function pathOf(panel: ModelsPanel): string {
  return panel.kernels.widget.peek()?.sessionContext.path ?? "";
}

function isNotebook(widget: Widget | null): widget is Notebook {
  return widget !== null && "content" in widget && "activeCellIndex" in (widget.content as object);
}
