// The model of a variable, edited in a tab of its own.
import { Dialog, showDialog } from "@jupyterlab/apputils";
import type { Kernel, ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { signal } from "@preact/signals";
import { h } from "preact";
import { ask, inWords, KernelProblem } from "./ask";
import { EditorView } from "./EditorView";
import { connect, KernelHost } from "./kernelHost";
import { ModelTab } from "./modelTabs";
import { TabContent } from "./tabContent";

/** What a tab shows, and how it is found again after the page was loaded anew. */
export interface EditorArgs {
  /** The kernel's id. */
  kernel: string;
  variable: string;
  /** The notebook of the kernel. */
  path?: string;
  /** Whether it was there before the page was loaded anew. */
  resumed?: boolean;
}

/** JupyterLab's mark of what is not saved. */
const DIRTY = "jp-mod-dirty";

export class EditorTab extends ModelTab<EditorContent> {
  constructor(args: EditorArgs, services: ServiceManager.IManager, trans: TranslationBundle) {
    const { variable, path } = args;
    super(new EditorContent(args, services, trans), variable, path === undefined ? variable : trans.__("%1 of %2", variable, path));
    const stop = this.content.dirty.subscribe((dirty) => (this.title.className = dirty ? DIRTY : ""));
    this.disposed.connect(stop);
  }

  /** As for a document that is not saved. */
  protected override onCloseRequest(message: Message): void {
    if (!this.content.dirty.peek()) super.onCloseRequest(message);
    else void this.content.mayLose().then((may) => may && this.dispose());
  }
}

export class EditorContent extends TabContent {
  readonly args: EditorArgs;
  readonly #services: ServiceManager.IManager;
  private readonly _trans: TranslationBundle;
  /** Whether there are edits that no variable has. */
  readonly dirty = signal(false);
  /** Said when the variable holds another model by now. */
  readonly #outdated = signal<string | null>(null);
  #editor: KernelHost | null = null;
  /** The question whether to lose edits, while it waits for its answer. */
  #asked: Promise<boolean> | null = null;

  constructor(args: EditorArgs, services: ServiceManager.IManager, trans: TranslationBundle) {
    super();
    this.#services = services;
    this._trans = trans;
    // By these it is restored.
    this.args = { ...args, resumed: true };
    void this.#begin(args.resumed ?? false);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    const host = this.#editor;
    super.dispose();
    void host?.close(true);
  }

  /** The variable may hold another model since the tab was opened. */
  async again(): Promise<void> {
    const host = this.#editor;
    if (!host?.comm_live) return;
    const current = await ask<boolean>(host.kernel, "is_current", { tab: host.tab, variable: this.args.variable }).catch(() => true);
    if (this.#editor !== host) return;
    this.#outdated.value = current ? null : this._trans.__("The variable '%1' holds another model by now. This is the one before.", this.args.variable);
  }

  /** Asks before edits are lost, once at a time. */
  async mayLose(): Promise<boolean> {
    if (!this.dirty.peek()) return true;
    return (this.#asked ??= this.#ask().finally(() => (this.#asked = null)));
  }

  async #ask(): Promise<boolean> {
    const { button } = await showDialog({
      title: this._trans.__("Discard the edits?"),
      body: this._trans.__("The edits of '%1' are in no variable. Hand them back to keep them.", this.args.variable),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: this._trans.__("Discard Edits") })],
      defaultButton: 0,
    });
    return button.accept;
  }

  /** Takes up the editor that the variable has in a tab, or opens one. */
  async #begin(resumes: boolean): Promise<void> {
    const before = this.#editor;
    const ends = this.#outdated.peek() !== null;
    this.#editor = null;
    this.dirty.value = false;
    this.#outdated.value = null;
    // What it was begun by is gone before anything is waited for.
    this.say(this._trans.__("Opening the model … This waits until nothing else runs in the kernel."));
    await before?.close(ends);
    let kernel: Kernel.IKernelConnection | null = null;
    try {
      kernel = await connect(this.#services.kernels, this.args.kernel);
      const host = await this.#attach(kernel, resumes);
      if (this.isDisposed) await host.close(true);
      else this.#edit(host);
    } catch (problem) {
      const text = inWords(problem as Error, kernel?.name ?? "", this._trans);
      kernel?.dispose();
      if (!this.isDisposed) this.say(text, this._trans.__("Open '%1' Again", this.args.variable), () => void this.#begin(false));
    }
  }

  async #attach(kernel: Kernel.IKernelConnection, resumes: boolean): Promise<KernelHost> {
    const { variable } = this.args;
    // The name may only have signs that those of comms have.
    const tab = `variable-${encodeURIComponent(variable)}`;
    const isOurs = (other: string) => other === tab;
    const known = await KernelHost.attach(kernel, isOurs);
    if (known) return known;
    if (resumes) throw new KernelProblem("gone", this._trans.__("The kernel has nothing of this tab: it was restarted, or had not opened the model yet."));
    await ask(kernel, "open_variable", { tab, variable });
    const host = await KernelHost.attach(kernel, isOurs);
    if (!host) throw new KernelProblem("gone", this._trans.__("The kernel has lost the model."));
    return host;
  }

  #edit(host: KernelHost): void {
    this.#editor = host;
    host.followDirty((dirty) => {
      if (this.#editor === host) this.dirty.value = dirty;
    });
    const label = this._trans.__("Open '%1' Again", this.args.variable);
    const lost = this._trans.__("What was edited here is gone: the kernel has ended or was restarted, or the tab was closed in another page.");
    const onClick = async () => {
      if (await this.mayLose()) await this.#begin(false);
    };
    this.present(host, (store) => h(EditorView, { store, lost, label, outdated: this.#outdated, onClick: () => void onClick() }));
  }
}
