// The model of a variable, edited in a tab of its own.
import { MainAreaWidget } from "@jupyterlab/apputils";
import type { Kernel, ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import { UUID } from "@lumino/coreutils";
import { type ISignal, Signal } from "@lumino/signaling";
import { h } from "preact";
import { ask, inWords, KernelProblem } from "./ask";
import { EditorView } from "./EditorView";
import { modelIcon } from "./icon";
import { connect, KernelHost } from "./kernelHost";
import { TabContent } from "./tabContent";

/** What a tab shows, and how it is found again after the page was loaded anew. */
export interface EditorArgs {
  /** The kernel's id. */
  kernel: string;
  variable: string;
  /** The notebook of the kernel. */
  path?: string;
  /** The tab's name in the kernel, where it has an editor. */
  tab?: string;
}

export class EditorTab extends MainAreaWidget<EditorContent> {
  constructor(args: EditorArgs, services: ServiceManager.IManager, words: TranslationBundle) {
    super({ content: new EditorContent(args, services, words) });
    const { variable, path } = args;
    this.title.label = variable;
    this.title.caption = path === undefined ? variable : words.__("%1 of %2", variable, path);
    this.title.icon = modelIcon;
    this.title.closable = true;
    this.toolbar.hide();
  }
}

export class EditorContent extends TabContent {
  readonly #args: EditorArgs;
  readonly #services: ServiceManager.IManager;
  readonly #words: TranslationBundle;
  readonly #argsChanged = new Signal<this, void>(this);
  #editor: KernelHost | null = null;

  constructor(args: EditorArgs, services: ServiceManager.IManager, words: TranslationBundle) {
    super();
    this.#services = services;
    this.#words = words;
    this.#args = { ...args };
    void (args.tab === undefined ? this.#open() : this.#resume(args.tab));
  }

  /** What the tab is, to be kept with the layout. */
  get args(): EditorArgs {
    return this.#args;
  }

  /** Emitted when that is another. */
  get argsChanged(): ISignal<this, void> {
    return this.#argsChanged;
  }

  shows({ kernel, variable }: EditorArgs): boolean {
    return this.#args.kernel === kernel && this.#args.variable === variable;
  }

  override dispose(): void {
    if (this.isDisposed) return;
    const host = this.#editor;
    super.dispose();
    void host?.close(true);
    Signal.clearData(this);
  }

  /** Takes up what the tab had before the page was loaded anew. */
  #resume(tab: string): Promise<void> {
    return this.#begin(async (kernel) => {
      const host = await KernelHost.attach(kernel, tab);
      if (!host) throw new KernelProblem("gone", this.#words.__("The kernel was restarted, and what was edited here is gone with it."));
      return host;
    });
  }

  #open = (): Promise<void> => {
    const { variable } = this.#args;
    const tab = UUID.uuid4();
    return this.#begin(async (kernel) => {
      await ask(kernel, "open_variable", { tab, variable });
      const host = await KernelHost.attach(kernel, tab);
      if (!host) throw new KernelProblem("gone", this.#words.__("The kernel has lost the model."));
      return host;
    });
  };

  async #begin(attach: (kernel: Kernel.IKernelConnection) => Promise<KernelHost>): Promise<void> {
    await this.#editor?.close(false);
    this.#editor = null;
    this.say(this.#words.__("Waiting for the kernel …"));
    let kernel: Kernel.IKernelConnection | null = null;
    try {
      kernel = await connect(this.#services.kernels, this.#args.kernel);
      const host = await attach(kernel);
      if (this.isDisposed) await host.close(true);
      else this.#edit(host);
    } catch (problem) {
      const text = inWords(problem as Error, kernel?.name ?? "", this.#words);
      kernel?.dispose();
      if (!this.isDisposed) this.say(text, this.#words.__("Open '%1' Again", this.#args.variable), () => void this.#open());
    }
  }

  #edit(host: KernelHost): void {
    this.#editor = host;
    this.#args.tab = host.tab;
    this.#argsChanged.emit();
    const lost = this.#words.__("The kernel has ended or was restarted, and what was edited here is gone with it.");
    const label = this.#words.__("Open '%1' Again", this.#args.variable);
    this.present(host, (store) => h(EditorView, { store, lost, label, onClick: () => void this.#open() }));
  }
}
