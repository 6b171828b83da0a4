// The panel of Keras models in the side bar.
import { type Signal, signal } from "@preact/signals";
import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { h, render } from "preact";
import "../../widget/src/widget.css";
import { ActiveKernel } from "./activeKernel";
import { focusInto } from "./focusInto";
import { modelIcon } from "./icon";
import type { KernelModels, ModelRow } from "./kernelModels";
import "./models.css";
import { ModelsView } from "./ModelsView";
import { ShownWidget } from "./shownWidget";

/** There is one as long as the page is. */
export class ModelsPanel extends ShownWidget {
  readonly kernels: ActiveKernel;
  readonly active: Signal<string | null> = signal(null);
  readonly opened: Signal<string | null> = signal(null);
  private readonly _trans: TranslationBundle;
  readonly #onEdit: () => void;
  #drawn = false;
  /** The row that JupyterLab's menu is open for, which leaves the focus nowhere. */
  #menuOf: HTMLElement | null = null;

  constructor(app: JupyterFrontEnd, trans: TranslationBundle, onEdit: () => void) {
    super();
    this._trans = trans;
    this.#onEdit = onEdit;
    this.kernels = new ActiveKernel(app.shell);
    this.id = "kerasedit-models";
    this.addClass("ke-models-panel");
    this.title.icon = modelIcon;
    this.title.caption = trans.__("Keras models");
    this.node.addEventListener("contextmenu", ({ target }) => (this.#menuOf = (target as Element).closest("[role=row]")));
    app.contextMenu.menu.aboutToClose.connect(() => {
      this.#menuOf?.focus();
      this.#menuOf = null;
    });
  }

  /** The kernel that is shown, and the models that it told of. */
  get kernel(): KernelModels | null {
    return this.kernels.models.peek();
  }

  get models(): readonly ModelRow[] {
    const known = this.kernel?.known.peek();
    return known?.is === "models" ? known.models : [];
  }

  /** The model that the keyboard is on. */
  get current(): ModelRow | null {
    return this.models.find(({ variable }) => variable === this.active.peek()) ?? null;
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    // Nothing is drawn before somebody looks.
    this.tellShown();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    focusInto(this.node, ["[role=row][tabindex='0']", "button"]);
  }

  protected tellShown(): void {
    const shown = this.isShown;
    if (shown && !this.#drawn) {
      this.#drawn = true;
      render(h(ModelsView, { shown: this, onEdit: this.#onEdit, trans: this._trans }), this.node);
    }
    this.kernels.setShown(shown);
  }
}
