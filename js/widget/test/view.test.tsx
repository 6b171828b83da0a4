// What a person sees and does, where no browser is needed to tell.
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Edit, Param, Plan, Row } from "../../shared/src/protocol";
import { row } from "../../shared/test/row";
import { App } from "../src/App";
import { Refusal } from "../src/client";
import type { Host } from "../src/host";
import { onwards } from "../src/onwards";
import { inputsToKeep } from "../src/RowNotePanel";
import type { Store } from "../src/store";
import { Fake, open, rowsFrom, type Sent } from "./fake";

const INFO = { editable: true, name: "toy", variable: "tuned", can_undo: true, done: 2 };
const pass = (ms = 0) => act(() => vi.advanceTimersByTimeAsync(ms).then(() => undefined));
let leave = () => {};

/** The whole widget on a page; `told` holds what the kernel answers to a query or an action. */
async function show(
  rows: Row[],
  told: Record<string, unknown> = {},
  host: Partial<Host> = {},
): Promise<{ fake: Fake; store: Store; page: HTMLElement }> {
  const fake = new Fake([], host);
  Object.assign(fake.traits, rowsFrom(rows), { info: INFO });
  const post = fake.post;
  fake.post = (message: Sent) => {
    post(message);
    const ok = told[message.query ?? message.action ?? ""];
    if (ok) fake.say({ id: message.id, ok });
  };
  const store = await open(fake);
  const page = document.body.appendChild(document.createElement("div"));
  void act(() => render(<App store={store} />, page));
  leave = () => {
    render(null, page);
    page.remove();
    store.close();
  };
  await pass();
  return { fake, store, page };
}

const named = (page: HTMLElement, name: string) => page.querySelector<HTMLElement>(`[aria-label="${name}"]`) as HTMLElement;
const click = (element: HTMLElement) => act(() => element.click());
const type = (field: HTMLElement, value: string) =>
  act(() => {
    (field as HTMLInputElement).value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
const press = (element: HTMLElement, key: string) =>
  act(() => void element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
const sent = (fake: Fake, what: string) => fake.sent.filter((message) => message.action === what || what in message);
const plan = (more: Partial<Plan> = {}): Plan => ({
  ok: true,
  text: "",
  errors: [],
  warnings: [],
  notes: [],
  shape_changes: [],
  reinitialized: [],
  sliced: [],
  dropped: [],
  renamed: [],
  params_before: 0,
  params_after: 0,
  trainable_before: 0,
  trainable_after: 0,
  bytes_before: 0,
  bytes_after: 0,
  flops_before: null,
  flops_after: null,
  code: "",
  ...more,
});

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  leave();
  vi.useRealTimers();
});

describe("a host that knows the file", () => {
  it("is told to save, and has no notebook to hand anything back to", async () => {
    const saveFile = vi.fn();
    const { page } = await show([row("a")], {}, { saveFile });
    expect(named(page, "Hand back")).toBeNull();
    void click(named(page, "Save"));
    expect(saveFile).toHaveBeenCalledOnce();
    expect(named(page, "File name")).toBeNull();
  });
});

describe("the page's shortcuts", () => {
  it.each([
    [true, "where the widget is a tab"],
    [false, "but in a cell"],
  ])("hold: %s, %s", async (shortcuts) => {
    const { page } = await show([row("a")], {}, { shortcuts });
    const heard = vi.fn();
    page.addEventListener("keydown", heard);
    void press(named(page, "Layers"), "b");
    expect(heard).toHaveBeenCalledTimes(Number(shortcuts));
    expect(named(page, "Keras model editor").hasAttribute("data-lm-suppress-shortcuts")).toBe(!shortcuts);
  });
});

describe("a name that was refused", () => {
  it("holds up no other that is typed in its place", async () => {
    const { fake, store, page } = await show([row("a"), row("b")]);
    await act(() => void (store.renaming.value = "a"));
    const field = named(page, "New name of a");
    const edit: Edit = { edit: "rename", target: "a", name: "b" };
    await type(field, "b");
    await act(() => void (store.foresight.shown.value = { anchor: field, edit, plan: plan({ ok: false }), refusal: null }));
    expect(field.getAttribute("aria-invalid")).toBe("true");
    await press(field, "Enter");
    expect(sent(fake, "edit")).toHaveLength(0);
    await type(field, "b2");
    expect(field.getAttribute("aria-invalid")).toBe("false");
    await press(field, "Enter");
    expect(sent(fake, "edit")).toMatchObject([{ edit: { edit: "rename", name: "b2" } }]);
  });
});

describe("the inputs to choose from when a layer goes", () => {
  const removal: Edit = { edit: "remove", target: "add" };
  const add = (inputs: number[], more: Partial<Row> = {}) => ({ ...row("add", "Add"), inputs, ...more });

  it("are told by name", () => {
    expect(inputsToKeep([row("a"), row("b"), add([2, 1])], removal)).toEqual(["a", "b"]);
    expect(inputsToKeep([row("a"), add([1])], removal)).toEqual([]);
    expect(inputsToKeep([row("a"), row("b"), add([2, 1])], { ...removal, keep: 0 })).toEqual([]);
  });

  it("are told apart where one layer makes several", () => {
    expect(inputsToKeep([row("a"), row("split"), add([1, 2, 1], { ports: [0, 0, 1] })], removal)).toEqual([
      "split, output 0",
      "a",
      "split, output 1",
    ]);
    expect(inputsToKeep([row("shared"), add([1, 1])], removal)).toEqual(["shared, input 0", "shared, input 1"]);
  });

  it("are none of a layer that is called several times, each time with one", () => {
    expect(inputsToKeep([row("a"), row("b"), add([2, 1], { calls: 2 })], removal)).toEqual([]);
  });

  it("are not asked for beforehand where the edit can be made without", async () => {
    const { store, page } = await show([row("a"), row("b"), add([2, 1])]);
    const anchor = named(page, "Remove add");
    const asks = () => page.querySelector(".ke-foreseen-choice") !== null;
    const foresee = (ok: boolean) =>
      act(() => void (store.foresight.shown.value = { anchor, edit: removal, plan: plan({ ok }), refusal: null }));
    await foresee(false);
    expect(asks()).toBe(true);
    await foresee(true);
    expect(asks()).toBe(false);
  });
});

describe("a button's name", () => {
  it("holds what it shows", async () => {
    const changes = { revision: 0, done: 1, total: 2, first: 1, steps: [{ label: "one", code: "" }, { label: "two", code: "" }] };
    const { store, page } = await show([row("a"), row("b"), row("c")], { changes });
    const agree = () => {
      const buttons = [...page.querySelectorAll("button[aria-label]")].filter((button) => button.textContent);
      for (const button of buttons) expect(button.getAttribute("aria-label")).toContain(button.textContent);
    };
    await click(named(page, "Changes"));
    await pass();
    expect(named(page, "Now at 1").textContent).toBe("Now at 1");
    agree();
    expect(named(page, "Freeze shown").textContent).toBe("Freeze shown");
    await act(() => void (store.selected.value = ["a", "b"]));
    expect(named(page, "Freeze shown").textContent).toBe("Freeze");
    agree();
  });
});

describe("the filter's box", () => {
  it("leads to no row that the list does not show", async () => {
    const { store, page } = await show([row("a"), row("b")]);
    await type(named(page, "Filter layers"), "nothing");
    await press(named(page, "Filter layers"), "ArrowDown");
    expect(store.selected.value).toEqual([]);
    await type(named(page, "Filter layers"), "");
    await press(named(page, "Filter layers"), "ArrowDown");
    expect(store.selected.value).toEqual(["a"]);
  });
});

const rate: Param = { name: "rate", type: "float", default: 0.5, required: false, doc: "" };
const entry = (class_name: string, params = [rate]) => ({ class_name, family: "core", doc: "", params });

describe("a type that is chosen by Enter or by a click", () => {
  it("leads on to its arguments, else to Apply, and applies nothing", async () => {
    const layers = [entry("Dropout"), entry("Flatten", [])];
    const { store, page } = await show([row("a")], { palette: { layers } });
    const applied = vi.fn(() => Promise.reject(new Refusal({ type: "EditError", message: "no" })));
    store.preview = () => Promise.resolve(plan());
    store.apply = applied;
    await act(() => void (store.dialog.value = { kind: "insert-after", path: "a" }));
    await pass();
    await press(named(page, "Find a layer type"), "ArrowDown");
    await press(named(page, "Find a layer type"), "Enter");
    expect(document.activeElement).toBe(page.querySelector("dialog .ke-field input"));
    await click(named(page, "Flatten"));
    expect(document.activeElement?.textContent).toBe("Apply");
    await pass(300);
    expect(applied).not.toHaveBeenCalled();
  });
});

describe("what the kernel refused to apply", () => {

  it.each(["another type", "another value"])("is said no more of %s", async (other) => {
    const { store, page } = await show([row("a")], { palette: { layers: [entry("Dropout"), entry("Noise")] } });
    store.preview = () => Promise.resolve(plan());
    store.apply = () => Promise.reject(new Refusal({ type: "EditError", message: "It is too late." }));
    await act(() => void (store.dialog.value = { kind: "insert-after", path: "a" }));
    await pass();
    await click(named(page, "Dropout"));
    await pass(300);
    await act(() => void page.querySelector("dialog form")?.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true })));
    await pass();
    expect(page.textContent).toContain("It is too late.");
    if (other === "another type") await click(named(page, "Noise"));
    else await type(page.querySelector("dialog .ke-field input") as HTMLElement, "0.25");
    await pass();
    expect(page.textContent).not.toContain("It is too late.");
  });

  it("is said no more of other arguments of a layer", async () => {
    const told = { class_name: "Dropout", params: [rate], left_out: [], fixed: null };
    const { store, page } = await show([row("a")], { arguments: told });
    store.preview = () => Promise.resolve(plan());
    store.apply = () => Promise.reject(new Refusal({ type: "EditError", message: "It is too late." }));
    await act(() => store.toggleDetail("a"));
    await pass();
    const field = page.querySelector(".ke-arguments input") as HTMLElement;
    await type(field, "0.25");
    await pass(300);
    await click(named(page, "Apply changes to a"));
    await pass();
    expect(page.textContent).toContain("It is too late.");
    await type(field, "0.75");
    await pass();
    expect(page.textContent).not.toContain("It is too late.");
  });
});

describe("a name that may be taken", () => {
  it("is sent once by two clicks", async () => {
    const { fake, page } = await show([row("a")]);
    await click(named(page, "Hand back"));
    await click(named(page, "Hand back"));
    expect(sent(fake, "hand_back")).toHaveLength(1);
    fake.say({ id: sent(fake, "hand_back")[0]?.id, ok: { name: "tuned" } });
    await pass();
    await click(named(page, "Hand back"));
    expect(sent(fake, "hand_back")).toHaveLength(2);
  });

  it("is not the one that was typed since", async () => {
    const { fake, page } = await show([row("a")]);
    await click(named(page, "Hand back"));
    await type(named(page, "Variable name"), "other");
    fake.say({ id: sent(fake, "hand_back")[0]?.id, error: { type: "NameTaken", message: "'tuned' is taken.", hint: "model" } });
    await pass();
    expect(named(page, "Replace variable")).toBeNull();
    await type(named(page, "Variable name"), "tuned");
    expect(named(page, "Replace variable")).not.toBeNull();
  });

  it("closes the form that it was typed in, and no other panel", async () => {
    const { fake, page } = await show([row("a")]);
    for (const [n, other] of ["Code", "Save", null].entries()) {
      await click(named(page, "Save"));
      await click(named(page, "Write file"));
      if (other) await click(named(page, "Save"));
      if (other) await click(named(page, other));
      fake.say({ id: sent(fake, "save")[n]?.id, ok: { path: "toy.keras" } });
      await pass();
      expect(page.querySelector(".ke-panel") !== null).toBe(other !== null);
      if (other) await click(named(page, other));
    }
  });
});

describe("the keys along the text", () => {
  it("lead on and back as the text runs", () => {
    for (const [direction, key, by] of [
      ["ltr", "ArrowRight", 1],
      ["ltr", "ArrowLeft", -1],
      ["rtl", "ArrowRight", -1],
      ["rtl", "ArrowLeft", 1],
      ["rtl", "ArrowUp", 0],
    ] as const) {
      const box = document.body.appendChild(document.createElement("div"));
      box.style.direction = direction;
      let told: number | undefined;
      box.onkeydown = (event) => void (told = onwards(event));
      box.dispatchEvent(new KeyboardEvent("keydown", { key }));
      box.remove();
      expect(told).toBe(by);
    }
  });

  it("fold and unfold", async () => {
    const { store, page } = await show([row("inner", "Functional", "model"), row("inner/d")]);
    page.style.direction = "rtl";
    const inner = page.querySelector("[role=row]") as HTMLElement;
    await press(inner, "ArrowLeft");
    expect([...store.unfolded.value]).toEqual(["inner"]);
    await press(inner, "ArrowRight");
    expect([...store.unfolded.value]).toEqual([]);
  });
});

describe("a row that comes by in fast scrolling", () => {
  const buttons = (page: HTMLElement, path: string) =>
    page.querySelectorAll(`[role=row][data-path="${path}"] .ke-actions button`).length;

  it("gets its buttons when that is over", async () => {
    const { store, page } = await show([row("a"), row("b")]);
    await act(() => void (store.rushing.value = true));
    expect(buttons(page, "b")).toBeGreaterThan(0); // What is drawn stays.
    await act(() => void (store.filter.value = "a"));
    await act(() => void (store.filter.value = ""));
    expect(buttons(page, "b")).toBe(0);
    expect(buttons(page, "a")).toBeGreaterThan(0);
    await act(() => void (store.rushing.value = false));
    expect(buttons(page, "b")).toBeGreaterThan(0);
  });
});

describe("what differs from the source", () => {
  const before = { params: 4000, trainable: 4000, bytes: 16000, flops: 8000 };

  it.each([
    [4000, "Operations for a sample 8 k → 4 k (\u221250 %)"],
    [8000, "Operations for a sample 8 k (no change)"],
    [null, ""],
  ])("is told in sizes and operations, where these are known: %s", async (flops, text) => {
    const diff = { before, after: { params: 1000, trainable: 1000, bytes: 4000, flops }, groups: [] };
    const { page } = await show([row("a")], { diff });
    const read = (text: string) => [...page.querySelectorAll("button")].find((one) => one.textContent === text) as HTMLElement;
    await click(read("Changes"));
    await click(read("Differences"));
    await pass(1000);
    const told = [...page.querySelectorAll("[role=tabpanel] .ke-total")].map((one) => one.textContent);
    expect(told).toEqual([
      "Parameters 4,000 → 1,000 (\u22123,000)",
      "Trainable 4,000 → 1,000 (\u22123,000)",
      "Memory 15.6 KiB → 3.91 KiB (\u221275 %)",
      ...(text ? [text] : []),
    ]);
  });
});

describe("what an ablation found", () => {
  const scores = { label: "accuracy lost", values: { a: 0.75, b: -0.25 } };
  const cells = (page: HTMLElement) =>
    [...page.querySelectorAll<HTMLElement>("[role=row]")].map((one) => one.querySelector(".ke-score")?.getAttribute("aria-label"));
  const bar = (page: HTMLElement, path: string) =>
    page.querySelector<HTMLElement>(`[data-path="${path}"] .ke-score-bar > :last-child`)?.style;

  it("is a column with a number and a bar on one scale", async () => {
    const { fake, page } = await show([row("a"), row("b"), row("c")]);
    expect(page.querySelector(".ke-scored, .ke-score, .ke-score-head")).toBeNull();
    await act(() => fake.update({ scores }));
    expect(page.querySelector(".ke-scored .ke-score-head")?.textContent).toBe("accuracy lost");
    expect(cells(page)).toEqual(["accuracy lost: +0.75", "accuracy lost: \u22120.25", null]);
    expect(page.querySelector('[data-path="b"] .ke-score')?.textContent).toBe("\u22120.25");
    expect([bar(page, "a")?.insetInlineStart, bar(page, "a")?.width]).toEqual(["25%", "75%"]);
    expect([bar(page, "b")?.insetInlineStart, bar(page, "b")?.width]).toEqual(["0%", "25%"]);
    await act(() => fake.update({ scores: {} }));
    expect(page.querySelector(".ke-scored, .ke-score, .ke-score-head")).toBeNull();
  });

  it("is a word of the filter while there is something", async () => {
    const { fake, page } = await show([row("a"), row("b"), row("c")]);
    const words = () => [...page.querySelectorAll("[role=menuitemcheckbox]")].map((item) => item.textContent);
    await click(named(page, "Filter by"));
    expect(words()).not.toContain("Ablated");
    await act(() => fake.update({ scores }));
    expect(words()).toContain("Ablated");
    await act(() => fake.update({ filter: "is:ablated" }));
    expect(cells(page)).toHaveLength(2);
  });

  it("does not fail of nothing but zeros", async () => {
    const { fake, page } = await show([row("a")]);
    await act(() => fake.update({ scores: { label: "x", values: { a: 0 } } }));
    expect(cells(page)).toEqual(["x: 0"]);
    expect(bar(page, "a")?.width).toBe("0%");
  });
});

describe("channels to be pruned", () => {
  const weighted = (path: string): Row => ({ ...row(path), weights: 2 });
  const group = { channels: 8, makers: ["a", "b"], chain: ["'a' (Conv2D) makes them"], more: 2, mixed: ["norm"], reason: "" };

  it("are told with all that is tied to them, and go by a share", async () => {
    const { store, page } = await show([weighted("a"), weighted("b")], { channels: { groups: [group], total: 3 } });
    const asked: Edit[] = [];
    store.preview = (edit) => {
      asked.push(edit);
      return Promise.resolve(plan({ flops_before: 2e9, flops_after: 1e9, bytes_before: 4096, bytes_after: 1024 }));
    };
    const done: unknown[] = [];
    store.apply = (action) => {
      done.push(action);
      return Promise.resolve({ revision: 1 });
    };
    await act(() => void (store.menu.value = "a"));
    const item = [...page.querySelectorAll<HTMLElement>("[role=menuitem]")].find((one) => one.textContent.startsWith("Prune"));
    await click(item as HTMLElement);
    await pass(300);
    const dialog = named(page, "Prune channels");
    for (const text of ["8 channels of a, b", "makes them", "2 more layers", "2 more groups", "norm makes something else"]) {
      expect(dialog.textContent).toContain(text);
    }
    expect(dialog.textContent).toContain("2 G → 1 G (−50 %)");
    expect(dialog.textContent).toContain("4.00 KiB → 1.00 KiB (−75 %)");

    await type(dialog.querySelector("input[type=range]") as HTMLElement, "50");
    await type(dialog.querySelector("input[inputmode=numeric]") as HTMLElement, "0");
    await pass(300);
    expect(dialog.querySelector("[type=submit]")?.getAttribute("aria-disabled")).toBe("true");
    await type(dialog.querySelector("input[inputmode=numeric]") as HTMLElement, "4");
    await pass(300);
    const edit = { edit: "prune_channels", target: "a", fraction: 0.5, criterion: "l2", multiple_of: 4, scope: "layer" };
    expect(asked.at(-1)).toEqual(edit);

    // Of all but the channels, it is told what stays.
    const choices = [...dialog.querySelectorAll("select")];
    const less = choices.find((one) => one.parentElement?.textContent.startsWith("The share is of")) as HTMLSelectElement;
    const choose = (value: string) =>
      act(() => {
        less.value = value;
        less.dispatchEvent(new Event("change", { bubbles: true }));
      });
    await choose("flops");
    await type(dialog.querySelector("input[type=range]") as HTMLElement, "30");
    await pass(300);
    expect(dialog.textContent).toContain("Operations for a sample that go");
    expect(asked.at(-1)).toEqual({ edit: "prune_channels", target: "a", flops: 0.7, criterion: "l2", multiple_of: 4, scope: "layer" });
    await choose("fraction");
    await type(dialog.querySelector("input[type=range]") as HTMLElement, "50");
    await pass(300);
    await act(() => void dialog.querySelector("form")?.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true })));
    await pass();
    expect(done).toEqual([{ edit }]);
    expect(store.dialog.value).toBeNull();
  });

  it("may be those of all layers that are selected", async () => {
    const { store, page } = await show([weighted("a"), weighted("b"), row("c")], { channels: { groups: [], total: 0 } });
    await act(() => store.selectAll());
    await act(() => void (store.menu.value = "b"));
    const item = [...page.querySelectorAll<HTMLElement>("[role=menuitem]")].find((one) => one.textContent.startsWith("Prune"));
    await click(item as HTMLElement);
    expect(store.dialog.value).toEqual({ kind: "prune", path: "b", paths: ["a", "b"] });
  });
});

describe("the Enter key in a dialog", () => {
  it("holds when the kernel has not yet said that the edit can be made", async () => {
    const told = { channels: { groups: [], total: 0 } };
    const { store, page } = await show([row("a")], told);
    let tell: (plan: Plan) => void = () => {};
    store.preview = () => new Promise((resolve) => (tell = resolve));
    const done: unknown[] = [];
    store.apply = (action) => {
      done.push(action);
      return Promise.resolve({ revision: 1 });
    };
    const enter = () =>
      act(() => void page.querySelector("dialog form")?.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true })));
    await act(() => void (store.dialog.value = { kind: "prune", path: "a" }));
    await enter();
    await pass(300);
    expect(done).toEqual([]);
    await act(() => tell(plan({ ok: false, errors: ["It cannot go."] })));
    await pass();
    expect(done).toEqual([]);

    // What is typed after it is another edit, which nobody asked to be made.
    await type(page.querySelector("dialog input[type=range]") as HTMLElement, "50");
    await enter();
    await type(page.querySelector("dialog input[type=range]") as HTMLElement, "75");
    await pass(300);
    await act(() => tell(plan()));
    await pass();
    expect(done).toEqual([]);
    await type(page.querySelector("dialog input[type=range]") as HTMLElement, "25");
    await enter();
    await pass(300);
    await act(() => tell(plan()));
    await pass();
    expect(done).toHaveLength(1);
  });
});

describe("a selected row that goes", () => {
  it("is not selected when it comes back", async () => {
    const { fake, store } = await show([row("a"), row("b")]);
    await act(() => store.select("a", "only"));
    await act(() => fake.update({ ...rowsFrom([row("b")]), revision: 2 }));
    await pass(300);
    expect(store.selected.value).toEqual([]);
    await act(() => fake.update({ ...rowsFrom([row("a"), row("b")]), revision: 3 }));
    expect(store.selected.value).toEqual([]);
  });
});

describe("when what has the focus goes", () => {
  async function alerted(): Promise<{ store: Store; page: HTMLElement; dismiss: HTMLElement }> {
    const { store, page } = await show([row("a"), row("b")]);
    await act(() => {
      store.active.value = "b";
      store.problem.value = new Refusal({ type: "EditError", message: "no" });
    });
    const dismiss = named(page, "Dismiss message");
    dismiss.focus();
    return { store, page, dismiss };
  }

  it("the row that the keyboard is on has it", async () => {
    const { page, dismiss } = await alerted();
    await click(dismiss);
    await pass();
    expect(named(page, "Dismiss message")).toBeNull();
    expect(document.activeElement).toBe(named(page, "b"));
  });

  it("it stays where somebody has put it", async () => {
    const { store, dismiss } = await alerted();
    dismiss.blur();
    await pass();
    await act(() => void (store.problem.value = null));
    await pass();
    expect(document.activeElement).toBe(document.body);
  });

  it("what stands beside it has it, where that is not in the list", async () => {
    const told = { class_name: "Dropout", params: [rate], left_out: [], fixed: null };
    const { store, page } = await show([row("a")], { arguments: told });
    await act(() => store.toggleDetail("a"));
    await pass();
    const field = page.querySelector(".ke-arguments input") as HTMLElement;
    await type(field, "0.25");
    named(page, "Discard changes to a").focus();
    await click(named(page, "Discard changes to a"));
    await pass();
    expect(document.activeElement).toBe(field);
  });
});

describe("the histogram of a row", () => {
  it("is shown large by a click, and stays so with a second one", async () => {
    const { store, page } = await show([{ ...row("a"), weights: 1 }, row("b")]);
    await pass(300);
    store.view(["a"]);
    await pass();
    const small = page.querySelector("[data-path=a] .ke-histogram") as HTMLElement;
    await click(small);
    expect(store.opened.value).toBe("a");
    await click(small);
    await act(() => void small.dispatchEvent(new MouseEvent("dblclick", { bubbles: true })));
    expect(store.opened.value).toBe("a");
  });
});
