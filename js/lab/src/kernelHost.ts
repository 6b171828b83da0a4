// An editor in a kernel, in a tab: what a widget manager does for a cell, for one comm of our own.
//
// JupyterLab lets one connection to a kernel handle comms, which is the notebook's. So messages are
// made and read here, on a connection beside it.
import { type Kernel, KernelMessage } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Traits } from "../../widget/src/host";
import { followSession, isLost, KernelProblem, Unanswered, unlessLost } from "./ask";
import { PageHost } from "./pageHost";
import { deleteSubshell, newSubshell } from "./subshells";

const TARGET = "kerasedit";

interface Told {
  method: string;
  state?: Partial<Traits> & { dirty?: boolean };
  content?: unknown;
}

/** A connection to a kernel that runs, for what a tab asks of it. */
export async function connect(kernels: Kernel.IManager, id: string): Promise<Kernel.IKernelConnection> {
  const model = await kernels.findById(id);
  if (!model) throw new KernelProblem("gone", "The kernel does not run any more.");
  const kernel = kernels.connectTo({ model, handleComms: false });
  followSession(kernel);
  try {
    await unlessLost(kernel, kernel.info);
  } catch (problem) {
    kernel.dispose();
    throw problem;
  }
  return kernel;
}

export class KernelHost extends PageHost {
  readonly kernel: Kernel.IKernelConnection;
  /** The tab's name in the kernel. */
  readonly tab: string;
  readonly revival = "see above";
  saveFile?: () => void;
  /** Whether there is something that the file does not have. */
  dirty = false;
  comm_live = true;
  readonly #subshell: string | null;
  readonly #changed = new Set<"selected" | "filter">();
  /** The questions that wait for an answer. */
  readonly #asked = new Set<string>();
  /** By this a kernel is told from the one before it was restarted. */
  #session: string | null = null;

  /**
   * Takes up the editor that a tab has in the kernel.
   *
   * @param fits tells it by the tab's name there; of several the last is taken
   * @returns null where there is none
   */
  static async attach(kernel: Kernel.IKernelConnection, fits: (tab: string) => boolean): Promise<KernelHost | null> {
    const subshell = await newSubshell(kernel);
    let host: KernelHost | null = null;
    try {
      const tab = (await tabsOf(kernel, subshell)).filter(fits).at(-1);
      if (tab === undefined) {
        await deleteSubshell(kernel, subshell);
        return null;
      }
      host = new KernelHost(kernel, tab, subshell);
      await unlessLost(kernel, host.#whole());
      return host;
    } catch (problem) {
      // With a kernel that is gone its subshells are, and who asks the next one to end them may wait for ever.
      const isGone = problem instanceof Unanswered && problem.type === "gone";
      if (host && isGone) host.#lose();
      if (host) await host.close(false);
      else if (!isGone) await deleteSubshell(kernel, subshell).catch(() => undefined);
      throw problem;
    }
  }

  /** Takes up the editor that a tab was just given. */
  static async of(kernel: Kernel.IKernelConnection, tab: string, trans: TranslationBundle): Promise<KernelHost> {
    const host = await this.attach(kernel, (other) => other === tab);
    if (!host) throw new KernelProblem("gone", trans.__("The kernel has lost the model."));
    return host;
  }

  private constructor(kernel: Kernel.IKernelConnection, tab: string, subshell: string | null) {
    super();
    this.kernel = kernel;
    this.tab = tab;
    this.#subshell = subshell;
    kernel.iopubMessage.connect(this.#hear);
    kernel.statusChanged.connect(this.#look);
    kernel.connectionStatusChanged.connect(this.#renew);
    kernel.disposed.connect(this.#lose);
    addEventListener("pagehide", this.#forsake);
  }

  override set<K extends keyof Traits>(name: K, value: Traits[K]): void {
    super.set(name, value);
    if (name === "selected" || name === "filter") this.#changed.add(name);
  }

  save_changes(): void {
    const state = Object.fromEntries([...this.#changed].map((name) => [name, this.traits[name]]));
    this.#changed.clear();
    if (this.comm_live) this.#post({ method: "update", state, buffer_paths: [] });
  }

  send(content: unknown): void {
    if (!this.comm_live) throw new Error("The kernel is gone.");
    const { id } = content as { id?: string };
    if (id !== undefined) this.#asked.add(id);
    this.#post({ method: "custom", content });
  }

  /** Tells now and whenever it changes whether edits would be lost; of a kernel that is gone they are. */
  followDirty(tell: (dirty: boolean) => void): void {
    const look = () => tell(this.dirty && this.comm_live);
    this.on("change:dirty", look);
    this.on("comm_live_update", look);
    look();
  }

  /** Leaves the kernel. What is edited there stays, unless the tab ends. */
  async close(ends: boolean): Promise<void> {
    removeEventListener("pagehide", this.#forsake);
    this.kernel.iopubMessage.disconnect(this.#hear);
    this.kernel.statusChanged.disconnect(this.#look);
    this.kernel.connectionStatusChanged.disconnect(this.#renew);
    this.kernel.disposed.disconnect(this.#lose);
    if (this.comm_live) {
      this.comm_live = false;
      try {
        if (ends) await unlessLost(this.kernel, this.#message("comm_close", {}).done);
        await deleteSubshell(this.kernel, this.#subshell);
      } catch {
        // It ended meanwhile.
      }
    }
    this.kernel.dispose();
  }

  /** The page ends, and the subshell with it; the editor waits for the next. */
  #forsake = ({ persisted }: PageTransitionEvent): void => {
    if (!persisted && this.comm_live) deleteSubshell(this.kernel, this.#subshell).catch(() => undefined);
  };

  /** Asks for all of the state, and waits for it. */
  #whole(): Promise<void> {
    return new Promise((resolve) => {
      const told = () => {
        this.off("change:part", told);
        resolve();
      };
      this.on("change:part", told);
      this.#post({ method: "request_state" });
    });
  }

  #post(data: object): void {
    this.#message("comm_msg", data);
  }

  #message(msgType: "comm_msg" | "comm_close", data: object): Kernel.IShellFuture {
    const { username, clientId: session } = this.kernel;
    const content = { comm_id: this.tab, data: data as KernelMessage.ICommMsgMsg["content"]["data"] };
    const common = { channel: "shell", username, session, subshellId: this.#subshell, content } as const;
    const message =
      msgType === "comm_msg"
        ? KernelMessage.createMessage<KernelMessage.ICommMsgMsg<"shell">>({ msgType, ...common })
        : KernelMessage.createMessage<KernelMessage.ICommCloseMsg<"shell">>({ msgType, ...common });
    return this.kernel.sendShellMessage(message);
  }

  #hear = (_: unknown, message: KernelMessage.IIOPubMessage): void => {
    const { session } = message.header;
    if (KernelMessage.isStatusMsg(message)) {
      if (this.#session !== null && session !== this.#session) this.#lose();
    } else if (KernelMessage.isCommMsgMsg(message) && message.content.comm_id === this.tab) {
      this.#session = session;
      this.#take(message.content.data as unknown as Told, message.buffers ?? []);
    } else if (KernelMessage.isCommCloseMsg(message) && message.content.comm_id === this.tab) {
      this.#lose();
    }
  };

  /** None of the traits holds buffers. What was set here and comes back as an echo is known. */
  #take({ method, state, content }: Told, buffers: (ArrayBuffer | ArrayBufferView)[]): void {
    if (method === "custom") {
      this.#asked.delete((content as { id?: string }).id ?? "");
      this.tell("msg:custom", content, buffers);
    }
    if (method !== "update" || !state) return;
    const { dirty = this.dirty, ...traits } = state;
    this.dirty = dirty;
    Object.assign(this.traits, traits);
    for (const name of Object.keys(state)) this.tell(`change:${name}`);
  }

  /** What was told while the connection was cut is lost. The state tells what was done of it. */
  #renew = (): void => {
    if (this.kernel.connectionStatus !== "connected" || !this.comm_live) return;
    const lost = [...this.#asked];
    this.#asked.clear();
    const error = { type: "Disconnected", message: "The connection to the kernel was cut. What is shown is how the model is now." };
    void this.#whole().then(() => {
      for (const id of lost) this.tell("msg:custom", { id, error }, []);
    });
  };

  #look = (): void => {
    if (isLost(this.kernel.status)) this.#lose();
  };

  #lose = (): void => {
    if (!this.comm_live) return;
    this.comm_live = false;
    this.tell("comm_live_update");
  };
}

/** The tabs that have an editor in a kernel. */
async function tabsOf(kernel: Kernel.IKernelConnection, subshellId: string | null): Promise<string[]> {
  const message = KernelMessage.createMessage<KernelMessage.ICommInfoRequestMsg>({
    msgType: "comm_info_request",
    channel: "shell",
    username: kernel.username,
    session: kernel.clientId,
    subshellId,
    content: { target_name: TARGET },
  });
  const reply = await unlessLost(kernel, kernel.sendShellMessage(message, true).done);
  const { content } = reply as KernelMessage.ICommInfoReplyMsg;
  return content.status === "ok" ? Object.keys(content.comms) : [];
}
