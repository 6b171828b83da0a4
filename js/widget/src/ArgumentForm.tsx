import { useId } from "preact/hooks";
import { type Fields, type Filled, isRare, showValue } from "../../shared/src/form";
import type { PaletteEntry, Param } from "../../shared/src/protocol";

interface Props {
  entry: PaletteEntry;
  fields: Fields;
  filled: Filled;
  onChange: (name: string, value: string | boolean) => void;
}

/** The arguments of a layer's constructor. A field that is left alone keeps the layer's own default. */
export function ArgumentForm({ entry, fields, filled, onChange }: Props) {
  const usual = entry.params.filter((param) => !isRare(param)).sort((a, b) => Number(b.required) - Number(a.required));
  const rare = entry.params.filter(isRare);
  const field = (param: Param) => (
    <Field
      key={param.name}
      param={param}
      value={fields[param.name]}
      problem={filled.problems[param.name]}
      onChange={(value) => onChange(param.name, value)}
    />
  );
  return (
    <>
      <div class="ke-fields">{usual.map(field)}</div>
      {rare.length > 0 && (
        <details class="ke-more">
          <summary>More arguments</summary>
          <div class="ke-fields">{rare.map(field)}</div>
        </details>
      )}
    </>
  );
}

interface FieldProps {
  param: Param;
  value: string | boolean | undefined;
  problem: string | undefined;
  onChange: (value: string | boolean) => void;
}

function Field({ param, value, problem, onChange }: FieldProps) {
  const id = useId();
  const described = problem === undefined ? undefined : `${id}-problem`;
  return (
    <div class="ke-field">
      <div class="ke-field-name">
        <label for={id} title={param.doc}>
          {param.name}
        </label>
        {param.required && <span aria-hidden="true"> *</span>}
      </div>
      <FieldInput id={id} param={param} value={value} described={described} onChange={onChange} />
      {problem && (
        <p id={described} class="ke-problem">
          {problem}
        </p>
      )}
    </div>
  );
}

interface InputProps extends Omit<FieldProps, "problem"> {
  id: string;
  described: string | undefined;
}

function FieldInput({ id, param, value, described, onChange }: InputProps) {
  if (param.type === "bool") {
    const checked = value ?? param.default;
    return (
      <input id={id} type="checkbox" checked={checked === true} onChange={(event) => onChange(event.currentTarget.checked)} />
    );
  }
  if (param.type === "choice") {
    return (
      <select
        id={id}
        class="ke-input"
        value={String(value ?? showValue(param.default))}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {param.choices?.map((choice) => (
          <option key={showValue(choice)} value={showValue(choice)}>
            {showValue(choice)}
          </option>
        ))}
      </select>
    );
  }
  return (
    <input
      id={id}
      class="ke-input"
      type="text"
      inputMode={param.type === "int" ? "numeric" : param.type === "float" ? "decimal" : "text"}
      aria-required={param.required}
      aria-invalid={described !== undefined}
      aria-describedby={described}
      placeholder={param.required ? "" : showValue(param.default)}
      spellcheck={false}
      autocomplete="off"
      value={typeof value === "string" ? value : ""}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  );
}
