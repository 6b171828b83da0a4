// The model of a variable, edited in a tab of its own.
import type { Kernel, ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import { h } from "preact";
import { ask, inWords, KernelProblem } from "./ask";
import { EditorView } from "./EditorView";
import { connect, KernelHost } from "./kernelHost";
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

export class EditorContent extends TabContent {
  readonly args: EditorArgs;
  readonly #services: ServiceManager.IManager;
  private readonly _trans: TranslationBundle;
  #editor: KernelHost | null = null;

  constructor(args: EditorArgs, services: ServiceManager.IManager, trans: TranslationBundle) {
    super();
    this.#services = services;
    this._trans = trans;
    this.args = args;
    void this.#begin(args.resumed ?? false);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    const host = this.#editor;
    super.dispose();
    void host?.close(true);
  }

  /** Takes up the editor that the variable has in a tab, or opens one. */
  async #begin(resumes: boolean): Promise<void> {
    await this.#editor?.close(false);
    this.#editor = null;
    this.say(this._trans.__("Waiting for the kernel, until nothing else runs there …"));
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
    if (resumes) throw new KernelProblem("gone", this._trans.__("The kernel was restarted, and what was edited here is gone with it."));
    await ask(kernel, "open_variable", { tab, variable });
    const host = await KernelHost.attach(kernel, isOurs);
    if (!host) throw new KernelProblem("gone", this._trans.__("The kernel has lost the model."));
    return host;
  }

  #edit(host: KernelHost): void {
    this.#editor = host;
    const lost = this._trans.__("The kernel has ended or was restarted, and what was edited here is gone with it.");
    const label = this._trans.__("Open '%1' Again", this.args.variable);
    this.present(host, (store) => h(EditorView, { store, lost, label, onClick: () => void this.#begin(false) }));
  }
}
