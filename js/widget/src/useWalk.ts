import { useLayoutEffect, useRef } from "preact/hooks";

/**
 * Makes one stop of the Tab key of all buttons of a list, which have `tabIndex={-1}`: arrow keys,
 * Home and End walk them. It begins at the one that is marked as current, or at the first.
 */
export function useWalk<T extends HTMLElement>() {
  const list = useRef<T>(null);
  const buttons = () => [...(list.current?.querySelectorAll("button") ?? [])];

  function stopAt(button: HTMLButtonElement | undefined): void {
    for (const other of buttons()) other.tabIndex = other === button ? 0 : -1;
  }

  useLayoutEffect(() => {
    const all = buttons();
    if (all.some((button) => button.tabIndex === 0)) return;
    stopAt(list.current?.querySelector<HTMLButtonElement>("[aria-current] button") ?? all[0]);
  });

  return {
    ref: list,
    onFocusIn: (event: FocusEvent) => {
      if (event.target instanceof HTMLButtonElement) stopAt(event.target);
    },
    onKeyDown: (event: KeyboardEvent) => {
      const all = buttons();
      const at = all.indexOf(event.target as HTMLButtonElement);
      const to = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Home: 0, End: all.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      all[Math.min(to, all.length - 1)]?.focus();
    },
  };
}
