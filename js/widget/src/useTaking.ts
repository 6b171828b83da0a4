import { useState } from "preact/hooks";
import { Refusal } from "./client";

/**
 * Sends something that may meet a name that is taken, and holds the refusal until it was answered
 * or something else was tried.
 */
export function useTaking(send: (overwrite: boolean) => Promise<void>) {
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  async function take(overwrite: boolean): Promise<void> {
    setRefusal(null);
    try {
      await send(overwrite);
    } catch (error) {
      if (error instanceof Refusal) setRefusal(error);
    }
  }
  return { refusal, take, drop: () => setRefusal(null) };
}
