import { Button } from "./Button";

export function Asking() {
  return <p class="ke-dim">Asking the kernel …</p>;
}

/** Said of what took the kernel long, and is no longer of the model as it is. */
export function Old({ what, again }: { what: string; again: () => void }) {
  return (
    <p class="ke-notice ke-group">
      <span class="ke-grow">{what} are from before the last change of the model.</span>
      <Button label="Look again" onClick={again}>
        Look again
      </Button>
    </p>
  );
}
