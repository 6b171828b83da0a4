// The notebook or console that was used last, and the models of its kernel.
import { signal } from "@preact/signals";
import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { ISessionContext } from "@jupyterlab/apputils";
import type { Widget } from "@lumino/widgets";
import { KernelModels } from "./kernelModels";

/** A notebook or a console, in JupyterLab as in Notebook 7: whatever else is in front keeps the last. */
export type WithSession = Widget & { sessionContext: ISessionContext };

type TabOfModels = Widget & { content?: { args?: { kernel?: string } } };

export class ActiveKernel {
  /** What is in front, or was before something without a kernel. */
  readonly widget = signal<WithSession | null>(null);
  readonly models = signal<KernelModels | null>(null);

  readonly #shell: JupyterFrontEnd.IShell;
  #shown = false;
  #follows = true;

  constructor(shell: JupyterFrontEnd.IShell) {
    this.#shell = shell;
    shell.currentChanged?.connect(this.#onCurrent);
    this.#onCurrent();
  }

  /** Whether somebody looks, and whether every change is followed. */
  setShown(shown: boolean): void {
    this.#shown = shown;
    this.models.peek()?.setShown(shown);
  }

  setFollows(follows: boolean): void {
    this.#follows = follows;
    this.models.peek()?.setFollows(follows);
  }

  #onCurrent = (): void => {
    const current = this.#shell.currentWidget;
    const widget = current && (hasSession(current) ? current : this.#withKernelOf(current));
    if (widget) this.#take(widget);
  };

  /** The notebook or console that a tab of one of its models belongs to. */
  #withKernelOf(tab: Widget): WithSession | undefined {
    const kernel = (tab as TabOfModels).content?.args?.kernel;
    const all = kernel === undefined ? [] : [...this.#shell.widgets("main")].filter(hasSession);
    return all.find(({ sessionContext }) => sessionContext.session?.kernel?.id === kernel);
  }

  #take(widget: WithSession | null): void {
    const before = this.widget.peek();
    if (widget === before) return;
    if (before) {
      before.sessionContext.kernelChanged.disconnect(this.#onKernel);
      before.disposed.disconnect(this.#onClosed);
    }
    this.widget.value = widget;
    widget?.sessionContext.kernelChanged.connect(this.#onKernel);
    widget?.disposed.connect(this.#onClosed);
    this.#onKernel();
  }

  #onClosed = (): void => this.#take(null);

  #onKernel = (): void => {
    const kernel = this.widget.peek()?.sessionContext.session?.kernel ?? null;
    const before = this.models.peek();
    if (kernel === (before?.kernel ?? null)) return;
    before?.dispose();
    const models = kernel && new KernelModels(kernel);
    models?.setFollows(this.#follows);
    models?.setShown(this.#shown);
    this.models.value = models;
  };
}

function hasSession(widget: Widget): widget is WithSession {
  return "sessionContext" in widget && widget.sessionContext !== null;
}
