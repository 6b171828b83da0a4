import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Client, Disconnected, Refusal, SLOW_MS } from "../src/client";

interface Sent {
  id: string;
  place: string;
  revision?: number;
  query?: string;
}

function setUp() {
  const sent: Sent[] = [];
  const waiting = vi.fn<(changes: number | null) => void>();
  const client = new Client((message) => sent.push(message as Sent), waiting);
  const at = (i: number): Sent => {
    const message = sent[i];
    if (!message) throw new Error(`no message ${i}`);
    return message;
  };
  return { sent, waiting, client, at };
}

const freeze = { edit: { edit: "freeze" as const, targets: ["dense"] } };
const settled = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("questions", () => {
  it("are answered by their own id, in any order, with their buffers", async () => {
    const { client, at } = setUp();
    const first = client.ask({ query: "code" });
    const second = client.ask({ query: "palette" });
    const buffer = new ArrayBuffer(4);
    client.receive({ id: at(1).id, ok: { layers: [] } }, [buffer]);
    client.receive({ id: at(0).id, ok: { code: "x" } });
    expect(await first).toEqual({ ok: { code: "x" }, buffers: [] });
    expect(await second).toEqual({ ok: { layers: [] }, buffers: [buffer] });
  });

  it("are refused in the kernel's words", async () => {
    const { client, at } = setUp();
    const asked = client.ask({ query: "code" });
    client.receive({ id: at(0).id, error: { type: "TargetError", message: "no layer 'x'", hint: "did you mean 'y'?" } });
    const error = await asked.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Refusal);
    expect(error).toMatchObject({ type: "TargetError", message: "no layer 'x'", hint: "did you mean 'y'?" });
  });

  it("have ids that no other view uses", () => {
    const one = setUp();
    const other = setUp();
    void one.client.ask({ query: "ping" });
    void other.client.ask({ query: "ping" });
    expect(one.at(0).id).not.toBe(other.at(0).id);
    expect(one.at(0).place).not.toBe(other.at(0).place);
  });

  it("ignore what is not an answer to them", () => {
    const { client } = setUp();
    for (const message of [null, "text", {}, { id: "another view's", ok: {} }, { id: 7, error: {} }]) {
      expect(() => client.receive(message)).not.toThrow();
    }
  });
});

describe("words", () => {
  it("are said without an answer being waited for, or missed", () => {
    const { client, at, sent, waiting } = setUp();
    client.tell({ action: "drawn" });
    client.tell({ action: "drawn" });
    vi.advanceTimersByTime(3_600_000);
    client.receive({ id: at(0).id, error: { type: "EditError", message: "no" } });
    expect(sent).toMatchObject([{ action: "drawn" }, { action: "drawn" }]);
    expect(at(0).id).not.toBe(at(1).id);
    expect(waiting).not.toHaveBeenCalled();
  });

  it("may fall into a closed channel", () => {
    const client = new Client(() => {
      throw new Error("closed");
    }, vi.fn());
    expect(() => client.tell({ query: "ping" })).not.toThrow();
  });
});

describe("waiting", () => {
  it("is told after a second and ends with the answer, which still counts", async () => {
    const { client, at, waiting } = setUp();
    const asked = client.ask({ query: "ping" });
    vi.advanceTimersByTime(SLOW_MS - 1);
    expect(waiting).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(waiting).toHaveBeenLastCalledWith(0);
    vi.advanceTimersByTime(3_600_000);
    client.receive({ id: at(0).id, ok: "late" });
    expect(waiting).toHaveBeenLastCalledWith(null);
    expect((await asked).ok).toBe("late");
  });

  it("counts the changes of the model, those that queue up meanwhile too", async () => {
    const { client, at, waiting } = setUp();
    void client.act(freeze, 0);
    void client.act(freeze, 0);
    vi.advanceTimersByTime(SLOW_MS);
    expect(waiting).toHaveBeenLastCalledWith(2);
    void client.act(freeze, 0);
    expect(waiting).toHaveBeenLastCalledWith(3);
    client.receive({ id: at(0).id, ok: { revision: 1 } });
    await settled();
    expect(waiting).toHaveBeenLastCalledWith(null);
    vi.advanceTimersByTime(SLOW_MS);
    expect(waiting).toHaveBeenLastCalledWith(2);
  });

  it("is not told when the answer is quick", () => {
    const { client, at, waiting } = setUp();
    void client.ask({ query: "ping" });
    client.receive({ id: at(0).id, ok: {} });
    vi.advanceTimersByTime(SLOW_MS * 2);
    expect(waiting).not.toHaveBeenCalled();
  });
});

describe("actions", () => {
  it("go out one at a time, each on the revision that the one before led to", async () => {
    const { client, sent, at } = setUp();
    const first = client.act(freeze, 3);
    const second = client.act(freeze, 3);
    expect(sent).toHaveLength(1);
    client.receive({ id: at(0).id, ok: { revision: 4 } });
    await settled();
    expect(at(1).revision).toBe(4);
    client.receive({ id: at(1).id, ok: { revision: 5 } });
    expect(await first).toEqual({ revision: 4 });
    expect(await second).toEqual({ revision: 5 });
  });

  it("count on an answer before the rows that show it are here", async () => {
    const { client, at } = setUp();
    void client.act(freeze, 3);
    client.receive({ id: at(0).id, ok: { revision: 4 } });
    await settled();
    void client.act(freeze, 3);
    expect(at(1).revision).toBe(4);
  });

  it("stay stale when somebody else changed the model in between", async () => {
    const { client, at } = setUp();
    const first = client.act(freeze, 3);
    void client.act(freeze, 3);
    client.receive({ id: at(0).id, error: { type: "StaleRevision", message: "changed" } });
    await expect(first).rejects.toThrow("changed");
    await settled();
    expect(at(1).revision).toBe(3);
  });

  it("do not hold up questions", () => {
    const { client, at } = setUp();
    void client.act(freeze, 0);
    void client.ask({ query: "ping" });
    expect(at(1).query).toBe("ping");
  });
});

describe("a closed channel", () => {
  it("fails what is sent on it", async () => {
    const client = new Client(
      () => {
        throw new Error("Cannot send");
      },
      () => undefined,
    );
    await expect(client.ask({ query: "ping" })).rejects.toBeInstanceOf(Disconnected);
    await expect(client.act(freeze, 0)).rejects.toBeInstanceOf(Disconnected);
  });

  it("may also be told by a promise", async () => {
    const client = new Client(() => Promise.reject(new Error("no kernel")), () => undefined);
    await expect(client.ask({ query: "ping" })).rejects.toBeInstanceOf(Disconnected);
    client.tell({ action: "drawn" });
    await settled();
  });

  it("ends everything under way and queued, and the waiting", async () => {
    const { client, sent, waiting } = setUp();
    const all = [client.ask({ query: "ping" }), client.act(freeze, 0), client.act(freeze, 0)];
    vi.advanceTimersByTime(SLOW_MS);
    client.disconnect();
    for (const one of await Promise.allSettled(all)) {
      expect(one).toMatchObject({ status: "rejected", reason: expect.any(Disconnected) as unknown });
    }
    expect(waiting).toHaveBeenLastCalledWith(null);
    expect(sent).toHaveLength(2);
  });
});
