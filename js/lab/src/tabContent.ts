// What is in a tab: the front end of the widget, or a line that says why it is not there.
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { type ComponentChildren, h, render } from "preact";
import type { Host } from "../../widget/src/host";
import { Store } from "../../widget/src/store";
import "../../widget/src/widget.css";
import { focusInto } from "./focusInto";
import { viewOptions } from "./settings";
import "./tab.css";

export class TabContent extends Widget {
  protected store: Store | null = null;
  readonly #resized = new ResizeObserver(() => this.#fit());

  constructor() {
    super();
    this.addClass("ke-tab");
    this.node.tabIndex = -1;
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.#resized.disconnect();
    this.empty();
    super.dispose();
  }

  /** Shows what a host has. */
  protected present(host: Host, view: (store: Store) => ComponentChildren): void {
    const hadFocus = this.node.contains(document.activeElement);
    this.empty();
    this.store = new Store(host, viewOptions);
    render(view(this.store), this.node);
    this.#fit();
    const { active, rows, focusWanted } = this.store;
    if (hadFocus) focusWanted.value = active.peek() ?? rows.peek()[0]?.path ?? null;
  }

  /** Shows a line of text, and a button that goes on. */
  protected say(text: string, label?: string, onClick?: () => void): void {
    this.empty();
    const button = label !== undefined && h("button", { class: "ke-tab-button jp-mod-styled", onClick }, label);
    render(h("div", { class: "ke-tab-message", role: button ? "alert" : "status" }, h("p", { dir: "auto" }, text), button), this.node);
  }

  protected empty(): void {
    render(null, this.node);
    this.store?.close();
    this.store = null;
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.#resized.observe(this.node);
  }

  protected override onActivateRequest(): void {
    focusInto(this.node, ["[role=row][tabindex='0'], input"], { preventScroll: true });
  }

  /** The list takes the room that the tab has. */
  #fit(): void {
    const list = this.node.querySelector(".ke-window");
    if (!list || !this.store || this.node.clientHeight === 0) return;
    const above = list.getBoundingClientRect().top - this.node.getBoundingClientRect().top + this.node.scrollTop;
    this.store.room.value = Math.max(120, Math.floor(this.node.clientHeight - above - 48));
  }
}
