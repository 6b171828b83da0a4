import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Fields, type Filled, isRare, showArgument, showValue } from "../../shared/src/form";
import type { Param } from "../../shared/src/protocol";
import "./form.css";
import { useId } from "./useId";

interface Props {
  params: readonly Param[];
  fields: Fields;
  filled: Filled;
  onChange: (name: string, value: string | boolean) => void;
}

/** The arguments of a layer's constructor. A field that is empty keeps the argument's default. */
export function ArgumentForm({ params, fields, filled, onChange }: Props) {
  /** The one that pointer or focus came to last. */
  const [told, setTold] = useState<Param | null>(null);
  const usual = params.filter((param) => !isRare(param)).sort((a, b) => Number(b.required) - Number(a.required));
  const rare = params.filter(isRare);
  const field = (param: Param) => (
    <Field
      key={param.name}
      param={param}
      value={fields[param.name]}
      changed={param.name in filled.config}
      problem={filled.problems[param.name]}
      onChange={(value) => onChange(param.name, value)}
      onVisit={() => setTold(param)}
    />
  );
  return (
    <div class="ke-form">
      <div class="ke-fields">{usual.map(field)}</div>
      {rare.length > 0 && (
        <details class="ke-more">
          <summary>More arguments</summary>
          <div class="ke-fields">{rare.map(field)}</div>
        </details>
      )}
      {/* Each field says the same to a screen reader. Of a file nothing is known but the values. */}
      {params.some(({ doc }) => doc) && (
        <p class="ke-told" aria-hidden="true">
          {told ? (
            <>
              <code>{told.name}</code> {told.doc || "Keras says nothing about it."}
            </>
          ) : (
            "Point at an argument to read what it does."
          )}
        </p>
      )}
    </div>
  );
}

interface FieldProps {
  param: Param;
  value: string | boolean | undefined;
  changed: boolean;
  problem: string | undefined;
  onChange: (value: string | boolean) => void;
  onVisit: () => void;
}

function Field({ param, value, changed, problem, onChange, onVisit }: FieldProps) {
  const id = useId();
  const described = [param.doc && `${id}-doc`, problem && `${id}-problem`].filter(Boolean).join(" ") || undefined;
  return (
    <div class={`ke-field${changed ? " ke-touched" : ""}`} onPointerEnter={onVisit} onFocusIn={onVisit}>
      <div class="ke-field-name">
        <label for={id}>{param.name}</label>
        {param.required && <span aria-hidden="true"> *</span>}
      </div>
      <FieldInput id={id} param={param} value={value} described={described} invalid={problem !== undefined} onChange={onChange} />
      {param.doc && (
        <span id={`${id}-doc`} hidden>
          {param.doc}
        </span>
      )}
      {problem && (
        <p id={`${id}-problem`} class="ke-problem">
          {problem}
        </p>
      )}
    </div>
  );
}

interface InputProps {
  id: string;
  param: Param;
  value: string | boolean | undefined;
  described: string | undefined;
  invalid: boolean;
  onChange: (value: string | boolean) => void;
}

function FieldInput(props: InputProps) {
  const { id, param, value, described, onChange } = props;
  const [typing, setTyping] = useState(false);
  if (param.type === "bool") {
    return (
      <input
        id={id}
        type="checkbox"
        aria-describedby={described}
        checked={(value ?? param.default) === true}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    );
  }
  if (param.choices && !typing) return <Select {...props} onOther={() => setTyping(true)} />;
  return <Text {...props} instead={typing} onLeave={(text) => text.trim() === "" && setTyping(false)} />;
}

/** Never a value: those of fields have no line breaks. */
const OTHER = "\n";

function Select({ id, param, value, described, onChange, onOther }: InputProps & { onOther: () => void }) {
  const now = typeof value === "string" && value !== "" ? value : showArgument(param);
  const named = param.choices?.map(showValue) ?? [];
  const options = named.includes(now) ? named : [now, ...named];
  return (
    <select
      id={id}
      class="ke-input"
      aria-describedby={described}
      value={now}
      onChange={(event) => {
        if (event.currentTarget.value === OTHER) onOther();
        else onChange(event.currentTarget.value);
      }}
    >
      {options.map((option) => (
        <option key={option} value={option}>
          {option}
        </option>
      ))}
      {param.type !== "choice" && <option value={OTHER}>other …</option>}
    </select>
  );
}

interface TextProps extends InputProps {
  /** Whether it took the place of a list that had the focus. */
  instead: boolean;
  onLeave: (text: string) => void;
}

function Text({ id, param, value, described, invalid, instead, onChange, onLeave }: TextProps) {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (instead) field.current?.select();
  }, []);
  return (
    <input
      ref={field}
      id={id}
      class="ke-input"
      type="text"
      inputMode={param.type === "int" ? "numeric" : param.type === "float" ? "decimal" : "text"}
      aria-required={param.required}
      aria-invalid={invalid}
      aria-describedby={described}
      placeholder={param.required ? "" : param.name === "name" ? "chosen automatically" : showArgument(param)}
      spellcheck={false}
      autocomplete="off"
      value={typeof value === "string" ? value : ""}
      onInput={(event) => onChange(event.currentTarget.value)}
      onBlur={(event) => onLeave(event.currentTarget.value)}
    />
  );
}
