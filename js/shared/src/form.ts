// The form of a layer's arguments: text that a person typed into JSON that the kernel reads. Only
// the syntax is judged here; whether a value makes sense is the kernel's to say.
import type { Json, Param } from "./protocol";

/** What was typed, by argument name; an argument that was not touched is not in it. */
export type Fields = Readonly<Record<string, string | boolean>>;

export interface Filled {
  /** Only the arguments that were changed. */
  config: Record<string, Json>;
  /** By argument: why what was typed can't be read. */
  problems: Record<string, string>;
  /** Arguments that have to be given and are not. */
  missing: string[];
}

export function fill(params: readonly Param[], fields: Fields): Filled {
  const filled: Filled = { config: {}, problems: {}, missing: [] };
  for (const param of params) {
    const typed = fields[param.name];
    if (typed === undefined || (typeof typed === "string" && typed.trim() === "")) {
      if (param.required) filled.missing.push(param.name);
      continue;
    }
    if (!param.required && typed === showArgument(param)) continue;
    try {
      const value = typeof typed === "boolean" ? typed : read(param, typed.trim());
      if (param.required || !sameJson(value, param.default)) filled.config[param.name] = value;
    } catch (error) {
      filled.problems[param.name] = (error as Error).message;
    }
  }
  return filled;
}

function read(param: Param, text: string): Json {
  switch (param.type) {
    case "int": {
      if (/^none$/i.test(text)) return null;
      const value = Number(text);
      if (!Number.isInteger(value)) throw new Error("A whole number, please.");
      return value;
    }
    case "float": {
      if (/^none$/i.test(text)) return null;
      const value = Number(text);
      if (!Number.isFinite(value)) throw new Error("A number, please.");
      return value;
    }
    case "tuple":
      return readTuple(text);
    case "choice":
      return param.choices?.find((choice) => showValue(choice) === text) ?? null;
    case "json":
      return readJson(text);
    case "str":
      return text === "None" ? null : text;
    case "bool":
      return text;
  }
}

/** `3`, `3, 3`, `(3, 3)` and `[3, 3]` alike; one number alone stays a number. */
function readTuple(text: string): Json {
  if (/^none$/i.test(text)) return null;
  const inner = text.replace(/^[([]|[)\]]$/g, "").replace(/,\s*$/, "");
  const isOne = inner === text && !text.includes(",");
  if (!isOne && inner.trim() === "") return [];
  const items = inner.split(",").map((item) => {
    if (/^\s*none\s*$/i.test(item)) return null;
    const value = Number(item);
    if (item.trim() === "" || !Number.isFinite(value)) throw new Error("Numbers separated by commas, please.");
    return value;
  });
  return isOne ? (items[0] ?? null) : items;
}

/** JSON, Python's spelling of the constants, or a bare word, which stands for itself. */
function readJson(text: string): Json {
  const constants: Record<string, Json> = { None: null, True: true, False: false };
  if (Object.hasOwn(constants, text)) return constants[text] ?? null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    if (isWord(text)) return text;
    throw new Error("JSON, or a plain word, please.");
  }
}

function isWord(text: string): boolean {
  return /^[\w.\- ]+$/.test(text);
}

function sameJson(a: Json, b: Json): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A value as a person would type it. */
export function showValue(value: Json): string {
  if (value === null) return "None";
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}

/** An argument's value, its default unless another is given, as its field takes it. */
export function showArgument({ type, default: preset }: Param, value = preset): string {
  if (Array.isArray(value) && type === "tuple" && value.length > 0) {
    return value.map(showValue).join(", ") + (value.length === 1 ? "," : "");
  }
  // What would be read as something else is told as JSON.
  if (type === "json" && typeof value === "string" && !(isWord(value) && sameJson(readJson(value), value))) {
    return JSON.stringify(value);
  }
  return showValue(value);
}

/** What stands in each field before anything is typed: the arguments as they are. */
export function present(params: readonly Param[]): Fields {
  const untouched = params.map((p) => [p.name, p.type === "bool" ? p.default === true : showArgument(p)] as const);
  return Object.fromEntries(untouched);
}

/** These take one number for all axes alike. */
const PER_AXIS = /^(kernel_size|strides|dilation_rate|pool_size)$/;

/** What the arguments of a layer say in the form of another: those of the same name that fit there. */
export function inherit(params: readonly Param[], old: readonly Param[]): Fields {
  const fields: Record<string, string | boolean> = {};
  for (const param of params) {
    const value = old.find((other) => other.name === param.name)?.default;
    if (param.name === "name" || value == null || sameJson(value, param.default)) continue;
    const alike = Array.isArray(value) && PER_AXIS.test(param.name) && value.every((item) => item === value[0]);
    const typed = typeof value === "boolean" ? value : showArgument(param, alike ? value[0] : value);
    const { config, problems } = fill([param], { [param.name]: typed });
    const read = config[param.name];
    if (param.name in problems || read == null || typeof read !== typeof (alike ? value[0] : value)) continue;
    fields[param.name] = typed;
  }
  return fields;
}

/** Arguments that most people leave alone go below a fold. A required one never does. */
export function isRare(param: Param): boolean {
  return (
    !param.required &&
    /_(initializer|regularizer|constraint)$|^(dtype|data_format|seed|trainable|autocast|quantization_config|lora_rank|lora_alpha)$/.test(
      param.name,
    )
  );
}
