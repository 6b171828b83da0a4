import type { ComponentChildren } from "preact";
import type { Refusal } from "./client";
import { Icon } from "./Icon";

/** Hints that tell this program what to ask, rather than a person what to do. */
const CODES = new Set(["on_mismatch", "model", "file", "other"]);

/** What the kernel refused, in its own words. */
export function Alert({ refusal, children }: { refusal: Refusal; children?: ComponentChildren }) {
  return (
    <div class="ke-alert" role="alert">
      <Icon name="warning" />
      <div class="ke-alert-text">
        <p dir="auto">{refusal.message}</p>
        {refusal.hint && !CODES.has(refusal.hint) && <p dir="auto">{refusal.hint}</p>}
        {children && <div class="ke-choices">{children}</div>}
      </div>
    </div>
  );
}
