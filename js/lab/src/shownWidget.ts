import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";

/** Knows whether somebody sees it: not where it is hidden, and not in a page in the background. */
export abstract class ShownWidget extends Widget {
  constructor() {
    super();
    document.addEventListener("visibilitychange", this.#look);
  }

  override dispose(): void {
    document.removeEventListener("visibilitychange", this.#look);
    super.dispose();
  }

  protected get isShown(): boolean {
    return this.isVisible && document.visibilityState === "visible";
  }

  /** Called when that may have changed. */
  protected abstract tellShown(): void;

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.tellShown();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.tellShown();
  }

  readonly #look = (): void => this.tellShown();
}
