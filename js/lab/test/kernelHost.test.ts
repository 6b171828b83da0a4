// The channel of a tab to its editor, on a kernel that is told what to say.
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { Signal } from "@lumino/signaling";
import { afterEach, describe, expect, it, vi } from "vitest";
import { row } from "../../shared/test/row";
import { Store } from "../../widget/src/store";
import { unlessLost } from "../src/ask";
import { KernelHost } from "../src/kernelHost";

const STATE = { part: "editor", revision: 3, snapshot: [row("a")], patch: [[0, 1]], info: {}, alive: "x", height: null, dirty: true };

/** A connection, and what was sent on it. */
class FakeKernel {
  readonly iopubMessage = new Signal<this, object>(this);
  readonly statusChanged = new Signal<this, string>(this);
  readonly connectionStatusChanged = new Signal<this, string>(this);
  readonly disposed = new Signal<this, void>(this);
  readonly sent: { kind: string; subshell: string | null; content: Record<string, unknown> }[] = [];
  readonly username = "ada";
  readonly clientId = "page";
  readonly commsOverSubshells = "perCommTarget";
  supportsSubshells = true;
  status = "idle";
  connectionStatus = "connected";
  isDisposed = false;
  tabs = ["file-1", "file-2"];
  deleted: string[] = [];

  requestCreateSubshell = () => ({ done: Promise.resolve({ content: { subshell_id: "s" } }) });
  requestDeleteSubshell = ({ subshell_id }: { subshell_id: string }) => {
    this.deleted.push(subshell_id);
    return { done: Promise.resolve({}) };
  };
  sendShellMessage = ({ header, content }: KernelMessage.IShellMessage) => {
    const told = content as unknown as { data?: { method: string } } & Record<string, unknown>;
    this.sent.push({ kind: header.msg_type, subshell: header.subshell_id ?? null, content: told });
    if (told.data?.method === "request_state") queueMicrotask(() => this.say({ method: "update", state: STATE }));
    const comms = Object.fromEntries(this.tabs.map((tab) => [tab, { target_name: "kerasedit" }]));
    return { done: Promise.resolve({ content: { status: "ok", comms } }) };
  };
  requestKernelInfo = () => Promise.resolve({});
  dispose = () => {
    this.isDisposed = true;
    this.disposed.emit();
  };

  connect(status: "connected" | "connecting"): void {
    this.connectionStatus = status;
    this.connectionStatusChanged.emit(status);
  }

  say(data: object, { tab = "file-2", kind = "comm_msg", session = "first" } = {}): void {
    this.iopubMessage.emit({ channel: "iopub", header: { msg_type: kind, session }, content: { comm_id: tab, data }, buffers: [] });
  }
}

const isFile = (tab: string) => tab.startsWith("file-");

let host: KernelHost | null = null;
afterEach(() => host?.close(false));

async function attach(change: (kernel: FakeKernel) => void = () => undefined): Promise<{ kernel: FakeKernel; host: KernelHost }> {
  const kernel = new FakeKernel();
  change(kernel);
  host = await KernelHost.attach(kernel as unknown as Kernel.IKernelConnection, isFile);
  if (!host) throw new Error("nothing to attach to");
  return { kernel, host };
}

describe("KernelHost", () => {
  it("takes up the last tab of the name, with its whole state, on a subshell", async () => {
    const { kernel, host } = await attach();
    expect(host.tab).toBe("file-2");
    expect([host.get("revision"), host.get("alive"), host.dirty]).toEqual([3, "x", true]);
    expect(kernel.sent.map(({ kind, subshell }) => [kind, subshell])).toEqual([
      ["comm_info_request", "s"],
      ["comm_msg", "s"],
    ]);
  });

  it("does without subshells where there are none", async () => {
    const { kernel } = await attach((kernel) => (kernel.supportsSubshells = false));
    expect(kernel.sent.map(({ subshell }) => subshell)).toEqual([null, null]);
  });

  it("finds nothing in a kernel that has no such tab", async () => {
    const kernel = new FakeKernel();
    kernel.tabs = ["another"];
    expect(await KernelHost.attach(kernel as unknown as Kernel.IKernelConnection, isFile)).toBeNull();
    expect(kernel.deleted).toEqual(["s"]);
  });

  it("asks how things stand after the connection was cut, and waits for no answers of before", async () => {
    const { kernel, host } = await attach();
    const heard = vi.fn();
    host.on("msg:custom", heard);
    host.send({ id: "1", query: "ping" });
    host.send({ id: "2", query: "ping" });
    kernel.say({ method: "custom", content: { id: "1", ok: {} } });
    kernel.sent.length = 0;
    kernel.connect("connecting");
    expect(kernel.sent).toEqual([]);
    kernel.connect("connected");
    await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(2));
    expect(kernel.sent.map(({ content }) => content["data"])).toEqual([{ method: "request_state" }]);
    expect(heard.mock.lastCall?.[0]).toMatchObject({ id: "2", error: { type: "Disconnected" } });
  });

  it("announces an update when all of it is set, and nobody else's", async () => {
    const { kernel, host } = await attach();
    const seen = vi.fn(() => expect(host.get("alive")).toBe("y"));
    host.on("change:revision", seen);
    kernel.say({ method: "update", state: { revision: 4, alive: "y" } });
    kernel.say({ method: "update", state: { revision: 9 } }, { tab: "file-1" });
    kernel.say({ method: "echo_update", state: { revision: 9 } });
    expect(seen).toHaveBeenCalledOnce();
    expect(host.get("revision")).toBe(4);
  });

  it("sends what is selected", async () => {
    const { kernel, host } = await attach();
    host.set("selected", ["a"]);
    host.save_changes();
    expect(kernel.sent.at(-1)?.content["data"]).toEqual({ method: "update", state: { selected: ["a"] }, buffer_paths: [] });
  });

  it.each([
    ["restarted here", (kernel: FakeKernel) => kernel.statusChanged.emit((kernel.status = "restarting"))],
    ["dead", (kernel: FakeKernel) => kernel.statusChanged.emit((kernel.status = "dead"))],
    ["restarted elsewhere", (kernel: FakeKernel) => kernel.say({}, { kind: "status", session: "second" })],
    ["done with the tab", (kernel: FakeKernel) => kernel.say({}, { kind: "comm_close" })],
    ["gone", (kernel: FakeKernel) => kernel.dispose()],
  ])("is not live when the kernel is %s", async (_, end) => {
    const { kernel, host } = await attach();
    const store = new Store(host);
    expect(store.dead.value).toBe(false);
    end(kernel);
    await new Promise((done) => setTimeout(done, 5));
    expect([host.comm_live, store.dead.value]).toEqual([false, true]);
    const { length } = kernel.sent;
    host.set("filter", "a");
    host.save_changes();
    expect(() => host.send({})).toThrow();
    expect(kernel.sent.length).toBe(length);
    store.close();
  });

  it.each([true, false])("closes the tab in the kernel where it ends for good (%s)", async (ends) => {
    const { kernel, host } = await attach();
    await host.close(ends);
    expect(kernel.sent.at(-1)?.kind).toBe(ends ? "comm_close" : "comm_msg");
    expect([kernel.deleted, kernel.isDisposed]).toEqual([["s"], true]);
  });
});

it("waits for no answer that was lost with the connection", async () => {
  const kernel = new FakeKernel();
  const answer = unlessLost(kernel as unknown as Kernel.IKernelConnection, new Promise(() => undefined));
  kernel.connect("connecting");
  kernel.connect("connected");
  await expect(answer).rejects.toMatchObject({ type: "cut" });
});

it("waits for no kernel that ends", async () => {
  const kernel = new FakeKernel();
  const never = unlessLost(kernel as unknown as Kernel.IKernelConnection, new Promise(() => undefined));
  kernel.statusChanged.emit((kernel.status = "dead"));
  await expect(never).rejects.toMatchObject({ type: "gone" });
});
