import type { Mismatch } from "../../shared/src/protocol";

interface Props<T extends string> {
  label: string;
  value: T;
  options: Record<T, string>;
  onChange: (value: T) => void;
}

export function Choice<T extends string>({ label, value, options, onChange }: Props<T>) {
  return (
    <label class="ke-choice">
      <span>{label}</span>
      <select class="ke-input" value={value} onChange={(event) => onChange(event.currentTarget.value as T)}>
        {(Object.keys(options) as T[]).map((key) => (
          <option key={key} value={key}>
            {options[key]}
          </option>
        ))}
      </select>
    </label>
  );
}

const MISMATCH: Record<Mismatch, string> = {
  error: "refuse the edit",
  reinit: "start afresh",
  slice: "copy what overlaps",
};

/** What becomes of weights that an edit leaves no place for. */
export function MismatchChoice({ label, value, onChange }: Omit<Props<Mismatch>, "options">) {
  return <Choice label={label} value={value} options={MISMATCH} onChange={onChange} />;
}
