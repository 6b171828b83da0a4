import type { Row } from "../../shared/src/protocol";
import type { Store } from "./store";

/** What there is to see of a row that is open. */
export function Detail({ row }: { store: Store; row: Row }) {
  return <p>{row.title}</p>;
}
