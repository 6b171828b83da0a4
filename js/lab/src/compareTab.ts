// Two models of a kernel side by side in a tab, in step with the kernel.
import { computed, effect, signal } from "@preact/signals";
import type { Kernel, ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import { h, render } from "preact";
import "../../widget/src/widget.css";
import { ask, inWords } from "./ask";
import "./compare.css";
import type { Comparison } from "./comparison";
import { CompareView } from "./CompareView";
import { focusInto } from "./focusInto";
import { connect } from "./kernelHost";
import { type Known, KernelModels } from "./kernelModels";
import { viewOptions } from "./settings";
import { ShownWidget } from "./shownWidget";
import "./tab.css";

export interface CompareArgs {
  /** The kernel's id. */
  kernel: string;
  /** Two of its variables. */
  first: string;
  second: string;
}

export class CompareContent extends ShownWidget {
  readonly args: CompareArgs;
  readonly #services: ServiceManager.IManager;
  private readonly _trans: TranslationBundle;
  readonly #told = signal<Comparison | null>(null);
  readonly #models = signal<KernelModels | null>(null);
  /** Why the two could not be compared. */
  readonly #problem = signal<string | null>(null);
  readonly #stops: (() => void)[] = [];

  constructor(args: CompareArgs, services: ServiceManager.IManager, trans: TranslationBundle) {
    super();
    this.args = args;
    this.#services = services;
    this._trans = trans;
    this.addClass("ke-tab");
    this.addClass("ke-compare-tab");
    this.node.tabIndex = -1;
    const compared = { told: this.#told, note: computed(() => this.#note()), names: [args.first, args.second] as const };
    render(h(CompareView, { compared, onAgain: () => this.again(), trans }), this.node);
    void this.#follow();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    for (const stop of this.#stops) stop();
    this.#models.peek()?.kernel.dispose();
    render(null, this.node);
    super.dispose();
  }

  protected override onActivateRequest(): void {
    focusInto(this.node, ["[role=option][tabindex='0']"]);
  }

  protected tellShown(): void {
    this.#models.peek()?.setShown(this.isShown);
  }

  /** Without live updates nothing else does. */
  again(): void {
    this.#models.peek()?.refresh();
  }

  /** Whatever runs in the kernel may have changed one of the two. */
  async #follow(): Promise<void> {
    let kernel: Kernel.IKernelConnection | null = null;
    try {
      kernel = await connect(this.#services.kernels, this.args.kernel);
      if (this.isDisposed) return kernel.dispose();
      const models = new KernelModels(kernel);
      this.#models.value = models;
      this.#stops.push(
        () => models.dispose(),
        effect(() => models.setFollows(viewOptions.live.value)),
        effect(() => {
          const known = models.known.value;
          if (known.is === "models") void this.#compare(models.kernel);
          else this.#problem.value = this.#lacks(known);
        }),
      );
      this.tellShown();
    } catch (problem) {
      this.#problem.value = inWords(problem as Error, kernel?.name ?? "", this._trans);
    }
  }

  /** Why what is shown is not of now, or nothing is. */
  #note(): string | null {
    const models = this.#models.value;
    const told = this.#told.value !== null;
    if (models?.dead.value) return this._trans.__("The kernel has ended.");
    if (!models?.busy.value) return this.#problem.value;
    return told ? this._trans.__("The kernel is busy: this is from before.") : this._trans.__("The kernel is busy. The models are compared when it is free.");
  }

  /** Why a kernel has nothing to compare; null where it is not known yet. */
  #lacks(known: Known): string | null {
    if (known.is === "problem") return known.message;
    if (known.is === "no kerasedit") return this._trans.__("kerasedit is not installed for this kernel.");
    if (this.#told.peek() !== null) return this._trans.__("The kernel was restarted, and has these models no more: this is from before.");
    return known.is === "nothing" ? null : this._trans.__("The kernel has no Keras models.");
  }

  async #compare(kernel: Kernel.IKernelConnection): Promise<void> {
    const { first, second } = this.args;
    try {
      this.#told.value = await ask<Comparison>(kernel, "compare_variables", { first, second });
      this.#problem.value = null;
    } catch (problem) {
      this.#problem.value = inWords(problem as Error, kernel.name, this._trans);
    }
  }
}
