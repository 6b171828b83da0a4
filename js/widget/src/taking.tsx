import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "./Button";
import { Refusal } from "./client";

/**
 * Sends something under a name that may be taken, one at a time, and holds the refusal until that was
 * answered or there is another name.
 *
 * @param done called when it was done, unless whoever sent it is gone by then
 */
export function useTaking(name: string, send: (overwrite: boolean) => Promise<void>, done?: () => void) {
  const [refused, setRefused] = useState<{ name: string; refusal: Refusal } | null>(null);
  const busy = useRef(false);
  const gone = useRef(false);
  useEffect(() => () => void (gone.current = true), []);

  async function take(overwrite: boolean): Promise<void> {
    if (busy.current) return;
    busy.current = true;
    setRefused(null);
    try {
      await send(overwrite);
      if (!gone.current) done?.();
    } catch (error) {
      if (error instanceof Refusal) setRefused({ name, refusal: error });
    }
    busy.current = false;
  }

  return { refusal: refused?.name === name ? refused.refusal : null, take, drop: () => setRefused(null) };
}

/** The answers to whether what has the name now is to go. */
export function Overwrite({ what, take, drop }: { what: string; take: (overwrite: boolean) => Promise<void>; drop: () => void }) {
  return (
    <>
      <Button label={`Replace ${what}`} primary onClick={() => void take(true)}>
        Replace {what}
      </Button>
      <Button label={`Keep ${what}`} onClick={drop}>
        Keep {what}
      </Button>
    </>
  );
}
