// A model file in a tab.
import { ABCWidgetFactory, DocumentWidget, type DocumentRegistry, TextModelFactory } from "@jupyterlab/docregistry";
import type { Contents, ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import { PanelLayout } from "@lumino/widgets";
import { h } from "preact";
import { EditorView } from "./EditorView";
import { FileHost } from "./fileHost";
import { FileView } from "./FileView";
import type { KernelHost } from "./kernelHost";
import { ModelDocument } from "./modelDocument";
import { TabContent } from "./tabContent";

export const MODEL = "kerasedit-file";

/** Nothing of a file's content comes to the page: its model stays empty. */
export class FileModelFactory extends TextModelFactory {
  constructor() {
    super(false);
  }

  override get name(): string {
    return MODEL;
  }

  /** By null the content is not asked for. */
  override get fileFormat(): Contents.FileFormat {
    return null;
  }
}

interface Given {
  services: ServiceManager.IManager;
  trans: TranslationBundle;
  /** JupyterLab's command for the tab in front. */
  save: () => void;
}

export class FileWidgetFactory extends ABCWidgetFactory<DocumentWidget<FileContent>> {
  readonly #given: Given;

  constructor(options: DocumentRegistry.IWidgetFactoryOptions<DocumentWidget<FileContent>>, given: Given) {
    super(options);
    this.#given = given;
  }

  protected createNewWidget(context: DocumentRegistry.Context): DocumentWidget<FileContent> {
    const widget = new DocumentWidget({ content: new FileContent(context, this.#given), context });
    // JupyterLab looks once whether a file may be written, and says so of what it is saved as, too.
    context.fileChanged.connect((_, { writable }) => {
      if (writable) takeAway(widget.toolbar, "read-only-indicator");
    }, widget);
    return widget;
  }
}

function takeAway(toolbar: DocumentWidget["toolbar"], name: string): void {
  const at = [...toolbar.names()].indexOf(name);
  if (toolbar.layout instanceof PanelLayout) toolbar.layout.widgets[at]?.dispose();
}

/** The front end of the widget, fed by the server, or by a kernel while the file is edited. */
export class FileContent extends TabContent {
  readonly #context: DocumentRegistry.Context;
  readonly #document: ModelDocument;
  private readonly _trans: TranslationBundle;
  readonly #save: () => void;
  readonly #stop: () => void;
  /** Which reading of the file is awaited: an earlier one that comes late is passed over. */
  #turn = 0;

  constructor(context: DocumentRegistry.Context, { services, trans, save }: Given) {
    super();
    this.#context = context;
    this._trans = trans;
    this.#save = save;
    this.#document = ModelDocument.of(context, services, trans);
    this.addClass("ke-file");
    // Renamed, or saved by somebody who uses the same server.
    context.pathChanged.connect(this.#changed);
    context.fileChanged.connect(this.#changed);
    this.#stop = this.#document.editor.subscribe((host) => {
      if (host) this.#edit(host);
      else void this.#read();
    });
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.#turn++;
    this.#stop();
    this.#context.pathChanged.disconnect(this.#changed);
    this.#context.fileChanged.disconnect(this.#changed);
    super.dispose();
  }

  #changed = (): void => {
    // The first comes with the opening itself.
    if (this.#context.isReady && this.#document.editor.peek() === null) void this.#read();
  };

  async #read(): Promise<void> {
    const turn = ++this.#turn;
    if (this.store === null) this.say(this._trans.__("Reading the file …"));
    try {
      const { reader } = this.#document;
      const model = await reader.model();
      if (turn !== this.#turn) return;
      const [document, trans] = [this.#document, this._trans];
      const onReload = () => void this.#read();
      this.present(new FileHost(reader, model), (store) => h(FileView, { store, document, trans, facts: model.file, onReload }));
    } catch (problem) {
      if (turn === this.#turn) this.say((problem as Error).message, this._trans.__("Try again"), () => void this.#read());
    }
  }

  #edit(host: KernelHost): void {
    this.#turn++;
    host.saveFile = this.#save;
    const lost = this._trans.__("The kernel of this tab has ended, and what was not saved is gone with it.");
    const label = this._trans.__("Show the File");
    this.present(host, (store) => h(EditorView, { store, lost, label, busy: this.#document.busy, onClick: () => void this.#document.giveUp() }));
  }
}
