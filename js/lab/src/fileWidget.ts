// A model file in a tab.
import { ABCWidgetFactory, DocumentWidget, type DocumentRegistry, TextModelFactory } from "@jupyterlab/docregistry";
import type { Contents, ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { h, render } from "preact";
import { Store } from "../../widget/src/store";
import "../../widget/src/widget.css";
import { FileHost } from "./fileHost";
import { FileReader, type ModelFile } from "./files";
import { FileView } from "./FileView";
import { viewOptions } from "./settings";
import "./file.css";

export const MODEL = "kerasedit-file";

/** Nothing of a file's content comes to the page: its model stays empty. */
export class FileModelFactory extends TextModelFactory {
  override get name(): string {
    return MODEL;
  }

  /** By null the content is not asked for. */
  override get fileFormat(): Contents.FileFormat {
    return null;
  }
}

export class FileWidgetFactory extends ABCWidgetFactory<DocumentWidget<FileContent>> {
  readonly #services: ServiceManager.IManager;
  readonly #words: TranslationBundle;

  constructor(
    options: DocumentRegistry.IWidgetFactoryOptions<DocumentWidget<FileContent>>,
    services: ServiceManager.IManager,
    words: TranslationBundle,
  ) {
    super(options);
    this.#services = services;
    this.#words = words;
  }

  protected createNewWidget(context: DocumentRegistry.Context): DocumentWidget<FileContent> {
    return new DocumentWidget({ content: new FileContent(context, this.#services, this.#words), context });
  }
}

/** What is in the tab: the front end of the widget, fed by the server. */
export class FileContent extends Widget {
  readonly #context: DocumentRegistry.Context;
  readonly #services: ServiceManager.IManager;
  readonly #words: TranslationBundle;
  readonly #resized = new ResizeObserver(() => this.#fit());
  #host: FileHost | null = null;
  #store: Store | null = null;
  /** Which reading of the file is awaited: an earlier one that comes late is passed over. */
  #turn = 0;

  constructor(context: DocumentRegistry.Context, services: ServiceManager.IManager, words: TranslationBundle) {
    super();
    this.#context = context;
    this.#services = services;
    this.#words = words;
    this.addClass("ke-file");
    this.node.tabIndex = -1;
    // Renamed, or saved by somebody who uses the same server.
    context.pathChanged.connect(this.#changed);
    context.fileChanged.connect(this.#changed);
    void this.#reload();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.#turn++;
    this.#context.pathChanged.disconnect(this.#changed);
    this.#context.fileChanged.disconnect(this.#changed);
    this.#resized.disconnect();
    this.#close();
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.#resized.observe(this.node);
  }

  protected override onActivateRequest(): void {
    (this.node.querySelector<HTMLElement>("[role=row][tabindex='0'], input") ?? this.node).focus();
  }

  #changed = (): void => {
    // The first comes with the opening itself.
    if (this.#context.isReady) void this.#reload();
  };

  async #reload(): Promise<void> {
    const turn = ++this.#turn;
    const { contents, serverSettings } = this.#services;
    const path = this.#context.path;
    if (this.#store === null) this.#say(this.#words.__("Reading the file …"), "status");
    try {
      if (contents.driveName(path)) throw new Error(this.#words.__("Only files of the Jupyter server itself can be shown."));
      const reader = new FileReader(contents.localPath(path), serverSettings);
      const model = await reader.model();
      if (turn === this.#turn) this.#show(reader, model);
    } catch (problem) {
      if (turn === this.#turn) this.#say((problem as Error).message, "alert");
    }
  }

  #show(reader: FileReader, model: ModelFile): void {
    this.#close();
    this.#host = new FileHost(reader, model);
    this.#store = new Store(this.#host, viewOptions);
    render(h(FileView, { store: this.#store, facts: model.file, onReload: () => void this.#reload() }), this.node);
    this.#fit();
  }

  #say(text: string, role: "status" | "alert"): void {
    this.#close();
    const again = h("button", { class: "ke-file-again jp-mod-styled", onClick: () => void this.#reload() }, this.#words.__("Try again"));
    render(h("div", { class: "ke-file-message", role }, h("p", { dir: "auto" }, text), role === "alert" && again), this.node);
  }

  #close(): void {
    render(null, this.node);
    this.#store?.close();
    this.#store = this.#host = null;
  }

  /** The list takes the room that the tab has. */
  #fit(): void {
    const list = this.node.querySelector(".ke-window");
    if (!list || !this.#host || this.node.clientHeight === 0) return;
    const above = list.getBoundingClientRect().top - this.node.getBoundingClientRect().top + this.node.scrollTop;
    this.#host.set("height", Math.max(200, Math.floor(this.node.clientHeight - above - 48)));
  }
}
