// A model file as a document of JupyterLab, which a kernel of its own edits.
//
// Nothing of the file comes to the page. The context's methods to save and to revert, which all of
// JupyterLab's menus, shortcuts and questions end in, are replaced by ones that ask the kernel.
import { Dialog, InputDialog, showDialog, showErrorMessage } from "@jupyterlab/apputils";
import { PathExt } from "@jupyterlab/coreutils";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import { type Kernel, KernelAPI, type KernelSpec, type ServiceManager } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import { UUID } from "@lumino/coreutils";
import { Signal } from "@lumino/signaling";
import { signal } from "@preact/signals";
import { listed } from "../../shared/src/format";
import { ask, inWords, KernelProblem, lacksKerasedit } from "./ask";
import { FileReader } from "./files";
import { connect, KernelHost } from "./kernelHost";

/** How many names of layers are listed. */
const LISTED = 20;

/** The names of the tabs of files begin so. */
const TAB = "file-";

/** Of a file that is only looked at. */
const NO_CHECKPOINT = { id: "", last_modified: "" };

type Specs = Record<string, KernelSpec.ISpecModel>;

/** What somebody was asked for to load a file. */
interface Permitted {
  /** The state of the file whose code may be run. */
  trusted?: string;
  compile?: false;
}

/** Why a file is not edited. */
export interface EditProblem {
  text: string;
  /** Whether another kernel might do. */
  another: boolean;
}

/** Somebody thought better of it. JupyterLab says nothing of errors of this name. */
class Cancelled extends Error {
  override name = "ModalCancelError";
}

/** What is edited in a kernel already, here before or in another page. */
const found = (kernel: Kernel.IKernelConnection) => KernelHost.attach(kernel, (tab) => tab.startsWith(TAB));

export class ModelDocument {
  static readonly #all = new Map<DocumentRegistry.Context, ModelDocument>();

  /** What edits the file; null while it is only looked at. */
  readonly editor = signal<KernelHost | null>(null);
  /** What is being done until it can be edited, or is saved. */
  readonly busy = signal<string | null>(null);
  readonly problem = signal<EditProblem | null>(null);
  /** Whether the file may be written, as far as the server knows. */
  readonly writable = signal(true);

  readonly #context: DocumentRegistry.Context;
  readonly #services: ServiceManager.IManager;
  private readonly _trans: TranslationBundle;
  /** The connections to the kernel beside that of JupyterLab's session. */
  readonly #beside = new Set<Kernel.IKernelConnection>();
  /** JupyterLab's own: finds out when the file was changed, and whether it may be. */
  readonly #look: () => Promise<void>;

  /** What was edited before the page was loaded anew was looked for. */
  readonly #resumed: Promise<void>;

  /** All views of a document share it. */
  static of(context: DocumentRegistry.Context, services: ServiceManager.IManager, trans: TranslationBundle): ModelDocument {
    const known = this.#all.get(context);
    if (known) return known;
    const made = new ModelDocument(context, services, trans);
    this.#all.set(context, made);
    // It still has its session then.
    context.sessionContext.disposed.connect(() => {
      this.#all.delete(context);
      void made.#leave();
    });
    return made;
  }

  private constructor(context: DocumentRegistry.Context, services: ServiceManager.IManager, trans: TranslationBundle) {
    this.#context = context;
    this.#services = services;
    this._trans = trans;
    this.#look = context.revert.bind(context);
    context.save = () => this.#save();
    context.saveAs = () => this.#saveAs();
    context.revert = () => this.#revert();
    const checkpoint = context.createCheckpoint.bind(context);
    context.createCheckpoint = async () => (this.editor.value ? checkpoint() : NO_CHECKPOINT);
    // A model is saved when somebody asks for it, not every two minutes, and not copied when it is opened.
    Object.defineProperty(context, "canSave", { value: false });
    const look = () => (this.writable.value = context.contentsModel?.writable ?? true);
    void context.ready.then(look);
    context.fileChanged.connect(look);
    this.#resumed = this.#resume();
  }

  /** The file as the server knows it. */
  get reader(): FileReader {
    const { contents, serverSettings } = this.#services;
    if (contents.driveName(this.#context.path)) throw new Error(this._trans.__("Only files of the Jupyter server itself can be shown."));
    return new FileReader(this.#context.localPath, serverSettings, this._trans);
  }

  /** Starts a kernel and loads the model there. */
  async edit(spec?: string): Promise<void> {
    await this.#resumed;
    if (this.busy.value !== null || this.editor.value) return;
    this.problem.value = null;
    this.busy.value = this._trans.__("Starting a kernel …");
    const { localPath } = this.#context;
    let started = false;
    try {
      let id = await this.#present(spec);
      if (id === undefined) {
        started = true;
        id = await this.#start(spec);
      }
      await this.#open(id, async (kernel) => {
        if (this.#context.isDisposed) return null;
        this.busy.value = this._trans.__("Loading the model …");
        return (await found(kernel)) ?? this.#load(kernel);
      });
    } catch (problem) {
      this.problem.value = this.#explain(problem);
    }
    if (started && this.editor.peek() === null) {
      // The session of a tab that was closed meanwhile nobody else ends.
      const end = this.#context.isDisposed ? this.#services.sessions.stopIfNeeded(localPath) : this.#context.sessionContext.shutdown();
      await end.catch(() => undefined);
    }
    this.busy.value = null;
  }

  /** The same with a kernel that somebody chooses. */
  async editWithAnother(): Promise<void> {
    const specs = await this.#specs();
    const names = Object.keys(specs);
    const { value } = await InputDialog.getItem({
      title: this._trans.__("Kernel to edit with"),
      items: names.map((name) => specs[name]?.display_name ?? name),
    });
    const spec = names.find((name) => specs[name]?.display_name === value);
    if (spec !== undefined) await this.edit(spec);
  }

  /** Goes back to the file as it is, when the kernel is gone. */
  giveUp(): Promise<void> {
    return this.#leave();
  }

  /** After the page was loaded anew the kernel may still have it. */
  async #resume(): Promise<void> {
    const { sessionContext } = this.#context;
    await sessionContext.ready;
    const id = sessionContext.session?.kernel?.id;
    if (id === undefined) return;
    this.busy.value = this._trans.__("Looking for what was edited …");
    try {
      await this.#open(id, found);
    } catch (problem) {
      this.problem.value = this.#explain(problem);
    }
    this.busy.value = null;
  }

  /** Takes up an editor in a kernel, over a connection beside JupyterLab's, where one is found. */
  async #open(id: string, find: (kernel: Kernel.IKernelConnection) => Promise<KernelHost | null>): Promise<void> {
    const kernel = await connect(this.#services.kernels, id);
    this.#beside.add(kernel);
    kernel.disposed.connect(() => this.#beside.delete(kernel));
    let host: KernelHost | null = null;
    try {
      host = await find(kernel);
    } finally {
      if (host && !this.#context.isDisposed) this.#take(host);
      else await (host?.close(false) ?? kernel.dispose());
    }
  }

  /** The id of the kernel that the file has already, here or in another page. */
  async #present(spec?: string): Promise<string | undefined> {
    const { sessionContext } = this.#context;
    const present = sessionContext.session?.kernel;
    if (present && (spec === undefined || present.name === spec)) return present.id;
    const elsewhere = spec === undefined ? await this.#elsewhere() : undefined;
    if (elsewhere !== undefined) await sessionContext.changeKernel({ id: elsewhere });
    return elsewhere;
  }

  /** The id of a new kernel. It is that of JupyterLab's session for the file. */
  async #start(spec?: string): Promise<string> {
    const specs = await this.#specs();
    const preferred = this.#services.kernelspecs.specs?.default ?? "";
    const name = spec ?? (preferred in specs ? preferred : Object.keys(specs)[0]);
    if (name === undefined) throw new Error(this._trans.__("There is no Python kernel on this server to edit with."));
    const kernel = await this.#context.sessionContext.changeKernel({ name });
    if (!kernel) throw new Cancelled();
    return kernel.id;
  }

  /** The kernel that another page has started for the file meanwhile. */
  async #elsewhere(): Promise<string | undefined> {
    const { sessions } = this.#services;
    await sessions.refreshRunning();
    return [...sessions.running()].find(({ path }) => path === this.#context.localPath)?.kernel?.id;
  }

  /** The kernels that are Python's. */
  async #specs(): Promise<Specs> {
    const { kernelspecs } = this.#services;
    await kernelspecs.ready;
    const all = Object.entries(kernelspecs.specs?.kernelspecs ?? {});
    return Object.fromEntries(all.filter((entry): entry is [string, KernelSpec.ISpecModel] => entry[1]?.language === "python"));
  }

  /** Loads the file in the kernel, in an editor of its own. */
  async #load(kernel: Kernel.IKernelConnection): Promise<KernelHost> {
    const tab = TAB + UUID.uuid4();
    const { path } = await this.reader.place();
    const permitted: Permitted = {};
    const open = () => ask(kernel, "open_file", { tab, path, ...permitted });
    const retry = async (problem: unknown): Promise<unknown> => {
      await this.#permit(problem, permitted);
      return open().catch(retry);
    };
    await open().catch(retry);
    return KernelHost.of(kernel, tab, this._trans);
  }

  /** Asks for what a file cannot be loaded without; throws the problem where that is something else. */
  async #permit(problem: unknown, permitted: Permitted): Promise<void> {
    const type = problem instanceof KernelProblem ? problem.type : "";
    if (type === "UnsafeModelError" && permitted.trusted === undefined) permitted.trusted = await this.#trust();
    else if (type === "CompileUnknown" && permitted.compile === undefined) permitted.compile = await this.#withoutCompiling();
    else throw problem;
  }

  async #withoutCompiling(): Promise<false> {
    const { button } = await showDialog({
      title: this._trans.__("Edit without the compiled state?"),
      body: this._trans.__("Keras cannot read how this model was compiled. It can be edited without; when it is saved, the file no longer has its loss and optimizer."),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: this._trans.__("Edit Without") })],
      defaultButton: 0,
    });
    if (!button.accept) throw new Cancelled();
    return false;
  }

  /** Asks whether code in the file may be run; the state of the file that the answer holds for. */
  async #trust(): Promise<string> {
    const { file, stamp } = await this.reader.model();
    const names = listed(file.unsafe, LISTED);
    const { button } = await showDialog({
      title: this._trans.__("Run code that is in the file?"),
      body:
        this._trans.__("To load this model, code that is in the file has to be run, with all that you may do on the kernel's machine. ") +
        this._trans.__("Do this only where you know who made it.") +
        (names && ` ${this._trans.__("These layers hold code: %1.", names)}`),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: this._trans.__("Trust and Load") })],
      defaultButton: 0,
    });
    if (!button.accept) throw new Cancelled();
    return stamp;
  }

  #take(host: KernelHost): void {
    const { model } = this.#context;
    this.editor.value = host;
    host.followDirty((dirty) => {
      if (this.editor.value === host) model.dirty = dirty;
    });
  }

  /** Lets go of the kernel, and ends it unless another page edits there. */
  async #leave(): Promise<void> {
    const { sessions, serverSettings } = this.#services;
    const { session } = this.#context.sessionContext;
    const host = this.editor.value;
    const own = 1 + this.#beside.size;
    try {
      if (!session?.kernel) return;
      const { connections = 0 } = (await KernelAPI.getKernelModel(session.kernel.id, serverSettings)) ?? {};
      // Of this page's own JupyterLab may have closed one; another page has two.
      if (connections > own) return;
      host?.kernel.dispose();
      await sessions.shutdown(session.id);
    } catch {
      // It has ended meanwhile.
    } finally {
      await host?.close(false);
      if (this.editor.value === host) this.editor.value = null;
    }
  }

  // What JupyterLab asks of a document

  async #save(): Promise<void> {
    await this.#context.ready;
    const host = this.editor.value;
    if (!host) return;
    const { localPath, model } = this.#context;
    await this.#write(host, localPath);
    if (this.#context.localPath !== localPath) {
      // It was renamed meanwhile: the edits may be in a file of the name that it had.
      model.dirty = true;
      await this.#write(host, this.#context.localPath);
      model.dirty = host.dirty;
    }
    await this.#look();
    this.#announce();
  }

  async #saveAs(): Promise<boolean> {
    await this.#context.ready;
    const host = this.editor.value;
    if (!host) {
      await showErrorMessage(this._trans.__("Nothing to save"), this._trans.__("The model was not edited. To have the file twice, duplicate it in the file browser."));
      return false;
    }
    const { localPath, sessionContext } = this.#context;
    const { button, value } = await InputDialog.getText({
      title: this._trans.__("Save Model As…"),
      label: this._trans.__("File, from the server's folder on"),
      text: localPath,
      okLabel: this._trans.__("Save"),
    });
    const path = PathExt.normalize(value?.trim() ?? "").replace(/^\/+/, "");
    if (!button.accept || path === "") return false;
    if (path === localPath) {
      await this.#save();
      return true;
    }
    if ([...ModelDocument.#all.keys()].some((other) => other.localPath === path)) {
      await showErrorMessage(this._trans.__("Not saved"), this._trans.__("'%1' is open in another tab. Close that first.", path));
      return false;
    }
    await this.#write(host, path);
    // The session's new path is the document's, as when a file is renamed.
    await sessionContext.session?.setPath(path);
    await this.#look();
    this.#announce();
    return true;
  }

  async #revert(): Promise<void> {
    if (this.busy.value !== null) throw new Cancelled();
    this.busy.value = this._trans.__("Reading the file again …");
    await this.#readAgain().finally(() => (this.busy.value = null));
  }

  async #readAgain(): Promise<void> {
    const old = this.editor.value;
    if (old) {
      try {
        await this.#open(old.kernel.id, (kernel) => this.#load(kernel));
      } catch (problem) {
        await this.#fail(this._trans.__("The file was not read again"), problem);
      }
      void old.close(true);
    }
    await this.#look();
  }

  /** Has the kernel write the file; asks where it is no longer the one that was read. */
  async #write(host: KernelHost, path: string): Promise<void> {
    if (this.busy.value !== null) throw new Cancelled();
    this.busy.value = this._trans.__("Saving the model …");
    this.#tell("started");
    try {
      const place = await this.reader.at(path).place();
      const write = (overwrite: boolean) => ask<string[]>(host.kernel, "save_file", { tab: host.tab, path: place.path, overwrite });
      const notes = await write(false).catch(async (problem: unknown) => {
        if (!(problem instanceof KernelProblem && problem.type === "FileChanged")) throw problem;
        return (await this.#mayOverwrite(path)) ? write(true) : this.#readAgain();
      });
      if (notes?.length) void showDialog({ title: this._trans.__("The model was saved"), body: notes.join("\n"), buttons: [Dialog.okButton()] });
      this.#tell("completed");
    } catch (problem) {
      this.#tell("failed");
      this.busy.value = null;
      const cut = problem instanceof KernelProblem && problem.type === "cut";
      await this.#fail(cut ? this._trans.__("It is not known whether the model was saved") : this._trans.__("The model was not saved"), problem);
    } finally {
      this.busy.value = null;
    }
  }

  /** Lets JupyterLab know how saving goes, by a signal that is the context's own. */
  #tell(state: DocumentRegistry.SaveState): void {
    const { saveState } = this.#context;
    if (saveState instanceof Signal) saveState.emit(state);
  }

  /** The file browser and others of the page hear of it as of what JupyterLab itself saves. */
  #announce(): void {
    const { fileChanged } = this.#services.contents;
    const { contentsModel } = this.#context;
    if (fileChanged instanceof Signal) fileChanged.emit({ type: "save", oldValue: null, newValue: contentsModel });
  }

  /** Asks about a file that is another than was read: whether to replace it, or else to read it again. */
  async #mayOverwrite(path: string): Promise<boolean> {
    const own = path === this.#context.localPath;
    const { button } = await showDialog({
      title: own ? this._trans.__("File Changed") : this._trans.__("File Overwrite?"),
      body: own
        ? this._trans.__(
            `"%1" has changed on disk since the last time it was opened or saved. Do you want to overwrite the file on disk with the model open here, or load the file on disk (revert)?`,
            path,
          )
        : this._trans.__(`"%1" already exists. Do you want to replace it?`, path),
      buttons: [
        Dialog.cancelButton(),
        ...(own ? [Dialog.okButton({ label: this._trans.__("Revert"), actions: ["revert"] })] : []),
        Dialog.warnButton({ label: this._trans.__("Overwrite"), actions: ["overwrite"] }),
      ],
      defaultButton: 0,
    });
    if (!button.accept) throw new Cancelled();
    return button.actions.includes("overwrite");
  }

  /** Says what went wrong. Whoever wanted it hears only that it was not done. */
  async #fail(title: string, problem: unknown): Promise<never> {
    if (!(problem instanceof Cancelled)) await showErrorMessage(title, this.#explain(problem)?.text ?? "");
    throw new Cancelled();
  }

  #explain(problem: unknown): EditProblem | null {
    if (problem instanceof Cancelled) return null;
    const text = inWords(problem as Error, this.#context.sessionContext.kernelDisplayName, this._trans);
    return { text, another: lacksKerasedit(problem) };
  }
}
