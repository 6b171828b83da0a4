import type { PaletteEntry } from "./protocol";

/** Entries that a text names, those that start with it first; by class or by family. */
export function searchPalette(entries: readonly PaletteEntry[], text: string): PaletteEntry[] {
  const wanted = text.trim().toLowerCase();
  const rank = (entry: PaletteEntry): number => {
    const name = entry.class_name.toLowerCase();
    if (name.startsWith(wanted)) return 0;
    if (name.includes(wanted)) return 1;
    return entry.family.includes(wanted) ? 2 : 3;
  };
  return entries
    .map((entry) => ({ entry, rank: rank(entry) }))
    .filter((one) => one.rank < 3)
    .sort((a, b) => a.rank - b.rank || a.entry.class_name.localeCompare(b.entry.class_name))
    .map((one) => one.entry);
}
