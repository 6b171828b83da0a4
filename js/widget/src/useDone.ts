import { useEffect, useState } from "preact/hooks";

const SHOWN_MS = 2500;

/** Lets a button show for a moment that it has done its work, as the message may be out of sight. */
export function useDone(): [done: boolean, tell: () => void] {
  const [at, setAt] = useState(0);
  useEffect(() => {
    if (at === 0) return;
    const timer = setTimeout(() => setAt(0), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [at]);
  return [at > 0, () => setAt(Date.now())];
}
