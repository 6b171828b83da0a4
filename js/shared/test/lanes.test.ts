import { describe, expect, it } from "vitest";
import { describeLanes, isLit, type Lanes, layLanes, type Piece, piecesIn } from "../src/lanes";
import type { Row } from "../src/protocol";
import { foldRows } from "../src/rows";

/** A row, fed by the rows of these paths; what stands behind a colon is the number of the output taken. */
type Line = [path: string, ...inputs: string[]];

/** A model with these rows; a row with others below it is a model, whose outputs are those marked `*`. */
function model(...lines: Line[]): Row[] {
  const paths = lines.map(([path]) => path.replace("*", ""));
  const isModel = (path: string) => paths.some((other) => other.startsWith(`${path}/`));
  return lines.map(([marked, ...inputs], number) => {
    const path = marked.replace("*", "");
    const parts = path.split("/");
    const taken = inputs.map((input) => input.split(":"));
    const outputs = lines.flatMap(([other], at): [number, number][] => {
      const [inner, star] = [other.replace("*", ""), other.endsWith("*")];
      return star && inner.startsWith(`${path}/`) && inner.split("/").length === parts.length + 1 ? [[at - number, 0]] : [];
    });
    return {
      path,
      name: parts.at(-1) ?? "",
      level: parts.length,
      kind: isModel(path) ? "model" : inputs.length > 0 ? "layer" : "input",
      class_name: "",
      family: "core",
      shape: "",
      dtype: "",
      params: 0,
      trainable: null,
      trainable_params: 0,
      weights: 0,
      marks: [],
      status: "",
      calls: 1,
      inputs: taken.map(([from]) => number - paths.indexOf(from ?? "")),
      ports: taken.map(([, port]) => Number(port ?? 0)),
      ...(isModel(path) && { outputs }),
      title: "",
    };
  });
}

function lay(rows: Row[], ...unfolded: string[]): Lanes {
  return layLanes(rows, foldRows(rows, new Set(unfolded)), new Set(unfolded));
}

/** The layout with only some rows shown, as with a filter. */
function filtered(rows: Row[], ...paths: string[]): Lanes {
  return layLanes(rows, rows.filter((row) => paths.includes(row.path)), null);
}

/** The edges as text, `~` where they go by way of rows that are not shown. */
function edges(rows: Row[], lanes: Lanes, unfolded: string[] | null): string[] {
  const shown = unfolded ? foldRows(rows, new Set(unfolded)) : rows;
  return lanes.feeds.flatMap((ends, row) =>
    ends.map((end) => `${shown[end.row]?.path} ${end.indirect ? "~>" : "->"} ${shown[row]?.path}`),
  );
}

/**
 * Looks at the picture alone: follows the line that leaves a row on its lane until it ends, and
 * tells in which rows it went into the node. It fails where the line is broken.
 */
function follow(lanes: Lanes, source: number, step: 1 | -1): number[] {
  const lane = lanes.lane[source];
  const reached: number[] = [];
  const part = (row: number, ...shapes: Piece["shape"][]) =>
    piecesIn(lanes, row).some((piece) => piece.lane === lane && piece.source === source && shapes.includes(piece.shape));
  if (!part(source, step > 0 ? "below" : "above")) return reached;
  for (let row = source + step; ; row += step) {
    const joins = part(row, step > 0 ? "join" : "back");
    if (joins) reached.push(row);
    if (part(row, "through")) continue;
    expect(joins, `the line of ${source} breaks off at ${row}`).toBe(true);
    return reached;
  }
}

function check(lanes: Lanes): void {
  const count = lanes.lane.length;
  const drawn = lanes.lane.map((_, row) => piecesIn(lanes, row));
  for (let row = 0; row < count; row++) {
    const reached = [...follow(lanes, row, -1), ...follow(lanes, row, 1)].sort((a, b) => a - b);
    expect(reached).toEqual(lanes.fed[row]?.map((end) => end.row));

    // On each lane there is one line above the middle of a row and one below it, and nothing runs
    // through the row's own node.
    for (const half of [["through", "above", "join"], ["through", "below", "back"]]) {
      const users = new Map<number, number>();
      for (const piece of drawn[row] ?? []) {
        if (!half.includes(piece.shape)) continue;
        expect(users.get(piece.lane) ?? piece.source).toBe(piece.source);
        users.set(piece.lane, piece.source);
      }
    }
    for (const piece of drawn[row] ?? []) {
      if (piece.shape === "through") expect(piece.lane).not.toBe(lanes.lane[row]);
    }
  }
  // A join without an edge would be a line too many.
  const joins = drawn.flat().filter((piece) => piece.shape === "join" || piece.shape === "back");
  expect(joins.length).toBe(lanes.feeds.flat().length);
}

const chain = model(["a"], ["b", "a"], ["c", "b"], ["d", "c"]);
const residual = model(["x"], ["conv", "x"], ["bn", "conv"], ["add", "x", "bn"], ["relu", "add"]);
const unet = model(
  ["image"],
  ["down0", "image"],
  ["pool0", "down0"],
  ["down1", "pool0"],
  ["pool1", "down1"],
  ["bottom", "pool1"],
  ["up1", "bottom"],
  ["join1", "up1", "down1"],
  ["up0", "join1"],
  ["join0", "up0", "down0"],
);

describe("layLanes", () => {
  it("draws a chain as one straight line", () => {
    const lanes = lay(chain);
    check(lanes);
    expect(lanes.spans.length).toBe(1);
    expect(lanes.lane).toEqual([0, 0, 0, 0]);
  });

  it("keeps the trunk straight and lets the body branch off", () => {
    const lanes = lay(residual);
    check(lanes);
    expect(lanes.lane).toEqual([0, 1, 1, 0, 0]);
  });

  it("uses a lane again that has ended", () => {
    const twice = model(["x"], ["a", "x"], ["add", "x", "a"], ["b", "add"], ["sum", "add", "b"]);
    expect(lay(twice).lane).toEqual([0, 1, 0, 1, 0]);
  });

  it("steps out and back in with a U-Net", () => {
    const lanes = lay(unet);
    check(lanes);
    expect(lanes.lane).toEqual([0, 0, 1, 1, 2, 2, 2, 1, 1, 0]);
  });

  it("sets the rows of an open model apart, and leads through them", () => {
    const rows = model(
      ["x"],
      ["stem", "x"],
      ["block", "stem"],
      ["block/in"],
      ["block/conv*", "block/in"],
      ["add", "stem", "block"],
      ["out", "add"],
    );
    const folded = lay(rows);
    check(folded);
    expect(edges(rows, folded, [])).toEqual(["x -> stem", "stem -> block", "stem -> add", "block -> add", "add -> out"]);
    expect(folded.lane).toEqual([0, 0, 1, 0, 0]);
    const open = lay(rows, "block");
    check(open);
    expect(edges(rows, open, ["block"])).toEqual([
      "x -> stem",
      "stem -> block",
      "block -> block/in",
      "block/in -> block/conv",
      "stem -> add",
      "block/conv -> add",
      "add -> out",
    ]);
    expect(open.lane).toEqual([0, 0, 1, 2, 2, 0, 0]);
  });

  it("comes back to the lane of a model after it", () => {
    const rows = model(["x"], ["net", "x"], ["net/in"], ["net/a*", "net/in"], ["head", "net"], ["out", "head"]);
    expect(lay(rows, "net").lane).toEqual([0, 0, 1, 1, 0, 0]);
  });

  it("tells the outputs of a model apart, also of one within another", () => {
    const rows = model(
      ["x"],
      ["net", "x"],
      ["net/in"],
      ["net/low*", "net/in"],
      ["net/deep*", "net/low"],
      ["net/deep/in"],
      ["net/deep/top*", "net/deep/in"],
      ["a", "net:1"],
      ["b", "net:0"],
    );
    const unfolded = ["net", "net/deep"];
    const lanes = lay(rows, ...unfolded);
    check(lanes);
    expect(edges(rows, lanes, unfolded).slice(-2)).toEqual(["net/deep/top -> a", "net/low -> b"]);
    expect(edges(rows, lay(rows, "net"), ["net"]).slice(-2)).toEqual(["net/deep -> a", "net/low -> b"]);
    const [net, deep] = [rows[1], rows[4]];
    if (net?.outputs && deep?.outputs) {
      net.outputs[1] = [3, 1];
      deep.outputs.push([1, 0]);
    }
    expect(edges(rows, lay(rows, ...unfolded), unfolded).at(-2)).toBe("net/deep/in -> a");
  });

  it("leads a line upwards into a shared layer that takes what is made later", () => {
    const rows = model(["x"], ["shared", "x", "relu"], ["relu", "shared"], ["add", "shared", "relu"]);
    const lanes = lay(rows);
    check(lanes);
    expect(lanes.fed[2]?.map((end) => end.row)).toEqual([1, 3]);
    expect(piecesIn(lanes, 1).some((piece) => piece.shape === "back")).toBe(true);
  });

  it("draws no line for a layer that takes its own output, nor for what nothing is known of", () => {
    const lanes = lay(model(["x"], ["self", "self"], ["gone", "never"]));
    check(lanes);
    expect(lanes.feeds.slice(0, 2)).toEqual([[], []]);
  });

  it("is not led in circles by a model whose output is itself", () => {
    const rows = model(["x"], ["net", "x"], ["net/in*"], ["head", "net"]);
    const net = rows[1];
    if (net) net.outputs = [[0, 0]];
    expect(edges(rows, lay(rows, "net"), ["net"]).at(-1)).toBe("net -> head");
  });
});

describe("with a filter", () => {
  const rows = model(["x"], ["a", "x"], ["b", "a"], ["add", "a", "b"], ["c", "add"], ["d", "c"]);
  const told = (...paths: string[]) => {
    const lanes = filtered(rows, ...paths);
    check(lanes);
    return edges(rows.filter((row) => paths.includes(row.path)), lanes, null);
  };

  it("leads by way of what is hidden, on the shortest lines that tell the order", () => {
    expect(told("a", "b", "c")).toEqual(["a -> b", "b ~> c"]);
    expect(told("a", "c", "d")).toEqual(["a ~> c", "c -> d"]);
    expect(told("a", "b", "add")).toEqual(["a -> b", "a -> add", "b -> add"]);
    expect(told("x", "d")).toEqual(["x ~> d"]);
  });

  it("leads through models, shown or not", () => {
    const nested = model(["x"], ["net", "x"], ["net/in"], ["net/a*", "net/in"], ["head", "net"]);
    const pick = (...paths: string[]) =>
      edges(nested.filter((row) => paths.includes(row.path)), filtered(nested, ...paths), null);
    expect(pick("x", "net/a", "head")).toEqual(["x ~> net/a", "net/a -> head"]);
    expect(pick("net", "head")).toEqual(["net ~> head"]);
  });

  it("leads upwards too", () => {
    const rows = model(["x"], ["shared", "x", "relu"], ["relu", "shared"], ["add", "shared", "relu"]);
    const lanes = filtered(rows, "shared", "relu");
    check(lanes);
    expect(lanes.feeds.map((ends) => ends.map((end) => end.row))).toEqual([[1], [0]]);
  });

  it("draws a lane through when one of its edges is direct", () => {
    const lanes = filtered(model(["x"], ["a", "x"], ["h", "x"], ["b", "h"]), "x", "a", "b");
    expect(lanes.spans[0]?.[0]?.indirect).toBe(false);
    const joins = piecesIn(lanes, 2).filter((piece) => piece.shape === "join");
    expect(joins.map((piece) => piece.indirect)).toEqual([true]);
  });
});

/** Numbers that are the same in each run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A graph whose rows take some of those before them, mostly near ones, and now and then a later one. */
function randomRows(seed: number): Row[] {
  const pick = random(seed);
  const count = 2 + pick(60);
  const span = 1 + pick(12);
  return model(
    ...Array.from({ length: count }, (_, number): Line => {
      const inputs = Array.from({ length: pick(4) }, () => {
        if (pick(40) === 0) return pick(count);
        return pick(4) === 0 ? pick(number) : Math.max(0, number - 1 - pick(span));
      });
      return [`r${number}`, ...(number === 0 ? [] : inputs.map((input) => `r${input}`))];
    }),
  );
}

/** Open models within open models, each a chain with a skip. */
function nestedRows(seed: number): { rows: Row[]; models: string[] } {
  const pick = random(seed);
  const lines: Line[] = [];
  const models: string[] = [];
  const fill = (prefix: string, depth: number) => {
    const made = [`${prefix}in`];
    lines.push([`${prefix}in`]);
    const count = 2 + pick(6);
    for (let n = 0; n < count; n++) {
      const path = `${prefix}n${n}`;
      const inputs = [made.at(-1) ?? "", made[pick(made.length)] ?? ""].slice(0, 1 + pick(2));
      lines.push([`${path}${n === count - 1 && prefix ? "*" : ""}`, ...inputs]);
      if (depth < 3 && pick(3) === 0) {
        models.push(path);
        fill(`${path}/`, depth + 1);
      }
      made.push(path);
    }
  };
  fill("", 0);
  return { rows: model(...lines), models };
}

describe("any graph", () => {
  it("has each edge as one unbroken line, and no two lines in one place", () => {
    for (let seed = 0; seed < 150; seed++) check(lay(randomRows(seed)));
  });

  it("has them with models open or folded", () => {
    for (let seed = 0; seed < 100; seed++) {
      const { rows, models } = nestedRows(seed);
      const pick = random(seed);
      for (const open of [[], models, models.filter(() => pick(2) === 0)]) {
        const lanes = lay(rows, ...open);
        check(lanes);
        // Inside a model nothing stands in a lane that passes it by.
        const shown = foldRows(rows, new Set(open));
        shown.forEach((row, number) => {
          const around = shown.findLastIndex((other, at) => at < number && other.level < row.level);
          if (around >= 0) expect(lanes.lane[number]).toBeGreaterThan(lanes.lane[around] ?? 0);
        });
      }
    }
  });

  it("has between some shown rows a way exactly where the whole has one", () => {
    for (let seed = 0; seed < 60; seed++) {
      const rows = randomRows(seed).map((row) => ({ ...row, inputs: row.inputs.filter((above) => above > 0) }));
      const pick = random(seed + 1000);
      const kept = rows.filter(() => pick(3) === 0);
      const lanes = filtered(rows, ...kept.map((row) => row.path));
      check(lanes);
      const whole = reachable(lay(rows));
      const part = reachable(lanes);
      kept.forEach((a, i) => {
        kept.forEach((b, j) => expect(part[j]?.has(i)).toBe(whole[rows.indexOf(b)]?.has(rows.indexOf(a))));
      });
    }
  });

  it("lights what leads into and out of a row, from end to end, and nothing else", () => {
    for (let seed = 0; seed < 40; seed++) {
      const lanes = lay(randomRows(seed));
      const drawn = lanes.lane.flatMap((_, row) => piecesIn(lanes, row).map((piece) => ({ row, piece })));
      const name = (row: number, piece: { source: number; shape: string }) => `${row}: ${piece.shape} of ${piece.source}`;
      lanes.feeds.forEach((ends, looked) => {
        const wanted = drawn.filter(({ piece }) => piece.source === looked).map(({ row, piece }) => name(row, piece));
        for (const { row: source } of ends) {
          const down = source < looked;
          wanted.push(name(source, { source, shape: down ? "below" : "above" }));
          for (let row = Math.min(source, looked) + 1; row < Math.max(source, looked); row++) {
            wanted.push(name(row, { source, shape: "through" }));
          }
          wanted.push(name(looked, { source, shape: down ? "join" : "back" }));
        }
        const lit = drawn.filter(({ row, piece }) => isLit(lanes, piece, row, looked));
        expect(lit.map(({ row, piece }) => name(row, piece)).sort()).toEqual(wanted.sort());
      });
    }
  });
});

/** For each row all rows from which there is a way to it. */
function reachable(lanes: Lanes): Set<number>[] {
  const found: Set<number>[] = [];
  lanes.feeds.forEach((ends, row) => {
    found[row] = new Set(ends.flatMap((end) => [end.row, ...(found[end.row] ?? [])]));
  });
  return found;
}

it("describeLanes tells the ends by name, and how many more there are", () => {
  const rows = model(["x"], ["a", "x"], ["b", "x"], ["c", "x"], ["d", "x"], ["e", "x"], ["join", "x", "a", "b", "c", "d", "e"]);
  const lanes = lay(rows);
  expect(describeLanes(lanes, rows, 0)).toBe("to a, b, c, d, 2 more");
  expect(describeLanes(lanes, rows, 1)).toBe("from x; to join");
  expect(describeLanes(lanes, rows, 6)).toBe("from x, a, b, c, 2 more");
  expect(describeLanes(filtered(rows, "x", "join"), [rows[0], rows[6]].flatMap((row) => row ?? []), 1)).toBe("from x");
  expect(describeLanes(filtered(chain, "a", "d"), [chain[0], chain[3]].flatMap((row) => row ?? []), 1)).toBe("from a (indirectly)");
  expect(describeLanes(lay(model(["alone"])), model(["alone"]), 0)).toBe("");
});
