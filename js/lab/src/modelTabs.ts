// Tabs that a command opens: one for what it is given, gone to when it is there, restored with the page.
import type { ILayoutRestorer, JupyterFrontEnd } from "@jupyterlab/application";
import { MainAreaWidget, WidgetTracker } from "@jupyterlab/apputils";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from "@lumino/coreutils";
import type { Widget } from "@lumino/widgets";
import { modelIcon } from "./icon";

export class ModelTab<C extends Widget> extends MainAreaWidget<C> {
  constructor(content: C, label: string, caption: string) {
    super({ content });
    this.title.label = label;
    this.title.caption = caption;
    this.title.icon = modelIcon;
    this.title.closable = true;
    this.toolbar.hide();
  }
}

/** What a tab shows, and by what it was opened. */
type Content<A> = Widget & {
  readonly args: A;
  /** Called when it is gone to by the command. */
  again?: () => unknown;
};

interface Opened<A, C extends Content<A>> {
  command: string;
  label: string;
  caption: string;
  namespace: string;
  /** What the command takes, as a JSON schema has it. */
  properties: ReadonlyJSONObject;
  required: string[];
  /** Throws where the command was given something else. */
  read: (given: ReadonlyPartialJSONObject) => A;
  /** What tells one tab from another. */
  key: (args: A) => string;
  make: (args: A) => ModelTab<C>;
  /** Where the first one is put; others are put beside that. */
  place?: (args: A) => DocumentRegistry.IOpenOptions;
}

export function addTabs<A extends object, C extends Content<A>>(
  app: JupyterFrontEnd,
  restorer: ILayoutRestorer | null,
  { command, label, caption, namespace, properties, required, read, key, make, place }: Opened<A, C>,
): void {
  const tracker = new WidgetTracker<ModelTab<C>>({ namespace });
  const keyOf = ({ content }: ModelTab<C>) => key(content.args);
  app.commands.addCommand(command, {
    label,
    caption,
    describedBy: { args: { type: "object", properties, required } },
    execute: (given) => {
      const args = read(given);
      const open = tracker.find((tab) => keyOf(tab) === key(args));
      const tab = open ?? make(args);
      if (open) void open.content.again?.();
      else {
        const other = tracker.currentWidget;
        app.shell.add(tab, "main", other ? { mode: "tab-after", ref: other.id } : place?.(args));
        void tracker.add(tab);
      }
      app.shell.activateById(tab.id);
      return tab;
    },
  });
  void restorer?.restore(tracker, { command, args: ({ content }) => content.args as ReadonlyPartialJSONObject, name: keyOf });
}
