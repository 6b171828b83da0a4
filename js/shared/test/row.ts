import type { Row } from "../src/protocol";

/** A row by its path, with nothing else to tell. */
export function row(path: string, class_name = "Dense", kind: Row["kind"] = "layer"): Row {
  const parts = path.split("/");
  return {
    path,
    name: parts.at(-1) ?? "",
    level: parts.length,
    kind,
    class_name,
    family: "core",
    shape: "",
    dtype: "float32",
    params: 0,
    trainable: true,
    trainable_params: 0,
    weights: 0,
    marks: [],
    status: "",
    calls: 1,
    inputs: [],
    title: "",
  };
}
