// The text of the filter box: words that a row has to fit, all of them.
import type { Row } from "./protocol";

type Test = (row: Row) => boolean;

/** What `is:` may ask of a row. */
export const KINDS = {
  trainable: (row) => row.trainable_params > 0,
  frozen: (row) => row.kind !== "ghost" && row.params > 0 && row.trainable_params === 0,
  changed: (row) => row.status !== "",
  shared: (row) => row.marks.includes("shared"),
  nested: (row) => row.level > 1,
} satisfies Record<string, Test>;

export type Kind = keyof typeof KINDS;

/** The words of a filter, as they were typed; what is in quotes is one word, whatever is in it. */
export function wordsOf(filter: string): string[] {
  return filter.match(/(?:"[^"]*"?|[^\s"])+/g) ?? [];
}

export function hasWord(filter: string, word: string): boolean {
  return wordsOf(filter).some((other) => sameWord(other, word));
}

/** The filter with a word that it did not have, or without one that it had. */
export function toggleWord(filter: string, word: string): string {
  const words = wordsOf(filter);
  const rest = words.filter((other) => !sameWord(other, word));
  return (rest.length < words.length ? rest : [...words.map(closed), word]).join(" ");
}

function closed(word: string): string {
  return word.split('"').length % 2 ? word : `${word}"`;
}

function sameWord(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/**
 * A test of one filter text. A row has to fit all its words: `is:frozen` and the like, one of the
 * classes of `type:Conv2D type:Dense`, and any other text in its path or class name. Each may be a
 * glob, of the whole then (`*` stays within one level, `**` crosses levels, as in a target).
 */
export function matcher(filter: string): Test {
  const tests: Test[] = [];
  const types: ((name: string) => boolean)[] = [];
  for (const word of wordsOf(filter)) {
    const [, key, value = ""] = /^(type|is):(.*)$/i.exec(word) ?? [];
    const name = unquoted(value);
    if (key && !name) continue; // It is still being typed.
    if (key?.toLowerCase() === "type") types.push(isGlob(name) ? globTest(name) : (text) => text === name);
    else if (key && isKind(name)) tests.push(KINDS[name]);
    else tests.push(textTest(unquoted(word)));
  }
  if (types.length > 0) tests.push((row) => types.some((test) => test(row.class_name.toLowerCase())));
  return (row) => tests.every((test) => test(row));
}

function unquoted(text: string): string {
  return text.replaceAll('"', "").toLowerCase();
}

function isKind(name: string): name is Kind {
  return Object.hasOwn(KINDS, name);
}

function isGlob(text: string): boolean {
  return /[*?[]/.test(text);
}

function textTest(text: string): Test {
  const test = isGlob(text) ? globTest(text) : (name: string) => name.includes(text);
  return (row) => test(row.path.toLowerCase()) || test(row.class_name.toLowerCase());
}

function globTest(glob: string): (text: string) => boolean {
  const source = glob.replace(/\*\*|\*|\?|\[(!?)([^\]]+)\]|[\\^$.|+(){}[\]]/g, (token, not?: string, set?: string) => {
    if (token === "**") return ".*";
    if (token === "*") return "[^/]*";
    if (token === "?") return "[^/]";
    if (set !== undefined) return `[${not ? "^" : ""}${set.replace(/[\\^[]/g, "\\$&")}]`;
    return `\\${token}`;
  });
  try {
    const pattern = new RegExp(`^${source}$`, "u");
    return (text) => pattern.test(text);
  } catch {
    return () => false; // A range such as [z-a] names nothing.
  }
}
