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
  ablated: (row) => row.score !== undefined,
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

/** The filter without what it says of types. */
export function untyped(filter: string): string {
  return wordsOf(filter)
    .filter((word) => !/^type:/i.test(word))
    .join(" ");
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
  const types: Fits[] = [];
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
  const test: Fits = isGlob(text) ? globTest(text) : (name) => name.includes(text);
  return (row) => test(row.path.toLowerCase()) || test(row.class_name.toLowerCase());
}

type Fits = (sign: string) => boolean;

/** A part of a glob: what it runs over, the sign that leads on from it, and how many parts on one may be without any. */
interface Part {
  over?: Fits;
  takes?: Fits;
  skips?: readonly number[];
}

const any: Fits = () => true;
const inLevel: Fits = (sign) => sign !== "/";

const WILD = new Map<string, Part[]>([
  ["?", [{ takes: inLevel }]],
  ["*", [{ over: inLevel, skips: [1] }]],
  ["**", [{ over: any, skips: [1] }]],
  ["**/", [{ skips: [1, 2] }, { over: any, takes: (sign) => sign === "/" }]],
]);

/**
 * A test of whole texts, by the same rules as the kernel's (tests/globs.json holds both to them). It
 * follows all ways through the glob at once, so that no text makes it try for ever.
 */
export function globTest(glob: string): Fits {
  // Two stars at the begin of a level, with a slash behind them, stand for whole levels, or for none.
  const signs = glob.match(/(?<![^/])\*\*\/|\*\*|\[.[^\]]*\]|./gsu) ?? [];
  const parts = signs.flatMap((sign) => WILD.get(sign) ?? { takes: signTest(sign) });
  return (text) => {
    let places = reach(parts, [0]);
    for (const sign of text) {
      const next: number[] = [];
      for (const place of places) {
        const part = parts[place];
        if (part?.over?.(sign)) next.push(place);
        if (part?.takes?.(sign)) next.push(place + 1);
      }
      places = reach(parts, next);
    }
    return places.has(parts.length);
  };
}

/** Places in a glob, and those that one gets to from them without a sign. */
function reach(parts: readonly Part[], places: readonly number[]): ReadonlySet<number> {
  const found = new Set(places);
  // A set that grows is walked to its end.
  for (const place of found) for (const by of parts[place]?.skips ?? []) found.add(place + by);
  return found;
}

/** A sign, one of a set, or with `!` one of the level that is not in it. */
function signTest(sign: string): Fits {
  if (sign.length < 3) return (other) => other === sign;
  // What is left out has "/" too; a "-" behind that would be a range from it.
  const set = sign.slice(1, -1).replace(/[\\[\]]/g, "\\$&").replace(/^!(-?)/, (_, first: string) => (first ? "^/\\-" : "^/"));
  try {
    const pattern = new RegExp(`^[${set}]$`, "su");
    return (other) => pattern.test(other);
  } catch {
    return () => false; // A range such as [z-a] names nothing.
  }
}
