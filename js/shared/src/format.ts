// Numbers as text.

const whole = new Intl.NumberFormat("en-US");

export function count(value: number): string {
  return whole.format(value);
}

/** "1 layer", "12 layers". */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** The first names of several: "a, b and 3 more". */
export function listed(names: readonly string[], most: number): string {
  const more = names.length - most;
  return names.slice(0, most).join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(value < 1000 ? 3 : 4)} ${units[unit] ?? ""}`;
}

/** Operations, by the thousand: "1.23 G". */
export function operations(value: number): string {
  const units = ["", " k", " M", " G", " T", " P"];
  const unit = value < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${figure(value / 1000 ** unit)}${units[unit] ?? ""}`;
}

/** "+12 %", "\u221250 %", "\u22120.3 %". */
export function share(before: number, after: number): string {
  const exact = (after / before - 1) * 100;
  const percent = Math.abs(exact) < 1 ? Number(exact.toPrecision(1)) : Math.round(exact);
  return `${percent < 0 ? "\u2212" : "+"}${Math.abs(percent)} %`;
}

/** How a number has changed: a count by its difference, what is told in another way in percent. */
export function change(before: number, after: number, show: (value: number) => string): string {
  return show === count || before === after ? difference(before, after) : share(before, after);
}

/** "+0.12", "\u22120.12", "0". */
export function signed(value: number): string {
  return `${value > 0 ? "+" : value < 0 ? "\u2212" : ""}${figure(Math.abs(value))}`;
}

/** Three digits, without the zeros that add nothing. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "Inf" : "-Inf";
  return String(Number(value.toPrecision(3)));
}

/** "+1,234", "-5", "no change". */
export function difference(before: number, after: number): string {
  if (before === after) return "no change";
  return after > before ? `+${count(after - before)}` : `\u2212${count(before - after)}`;
}

export function shortened(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}
