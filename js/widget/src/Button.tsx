import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "./Icon";
import type { Foretelling } from "./pointing";

interface Props {
  /** The accessible name, and the tooltip where `title` gives none. */
  label: string;
  onClick: (event: MouseEvent) => void;
  title?: string;
  icon?: IconName;
  disabled?: boolean;
  primary?: boolean;
  expanded?: boolean;
  pressed?: boolean;
  popup?: "menu";
  tabIndex?: number;
  /** What tells beforehand what a click does; it takes the place of the tooltip. */
  foretelling?: Foretelling;
  children?: ComponentChildren;
}

/**
 * A button that can't be used stays focusable: a disabled element that holds the focus loses it,
 * and the next key would go to the notebook.
 */
export function Button(props: Props) {
  const { label, onClick, title, icon, disabled = false, primary, expanded, pressed, popup, tabIndex, children } = props;
  const foretelling = disabled ? undefined : props.foretelling;
  return (
    <button
      type="button"
      class={`ke-button${primary ? " ke-primary" : ""}${children ? "" : " ke-bare"}`}
      aria-label={label}
      title={foretelling ? undefined : (title ?? (children ? undefined : label))}
      aria-disabled={disabled}
      aria-expanded={expanded}
      aria-pressed={pressed}
      aria-haspopup={popup}
      tabIndex={tabIndex}
      {...foretelling}
      onClick={(event) => {
        if (!disabled) onClick(event);
      }}
    >
      {icon && <Icon name={icon} />}
      {children && <span class="ke-text">{children}</span>}
    </button>
  );
}
