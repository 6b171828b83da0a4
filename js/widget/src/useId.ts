import { useState } from "preact/hooks";

/** An id that no other view on the page has: Preact's own is one of its kind in one view alone. */
export function useId(): string {
  return useState(() => `ke-${Math.random().toString(36).slice(2)}`)[0];
}
