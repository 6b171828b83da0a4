import "./lanes.css";
import { computed } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { describeLanes, isLit, type Piece, piecesIn } from "../../shared/src/lanes";
import type { Row } from "../../shared/src/protocol";
import type { Relation } from "./laneView";
import { ROW_HEIGHT } from "./place";
import { fromStart } from "./onwards";
import type { Store } from "./store";

interface Props {
  store: Store;
  row: Row;
  index: number;
}

const MIDDLE = ROW_HEIGHT / 2;
/** How far before the row's own height a line bends towards it. */
const BEND = 9;

/** What the lines of a row look like: plain, or lit since the row that is looked at takes or makes what they carry. */
type Look = "" | "in" | "out";
const LOOKS: Look[] = ["", "in", "out"];

/** The part of the graph that runs through a row, and the row's own node. */
export function Lanes({ store, row, index }: Props) {
  const view = store.lanes;
  const layout = view.layout.value;
  const { width } = view.size.value;
  const pieces = useMemo(() => piecesIn(layout, index), [layout, index]);
  // As text: what changes while the pointer moves concerns few rows, and only those are drawn anew.
  const looks = useMemo(
    () =>
      computed(() => {
        const looked = view.looked.value;
        const look = (piece: Piece): Look =>
          looked < 0 || !isLit(layout, piece, index, looked) ? "" : piece.source === looked ? "out" : "in";
        return [view.relation(index), ...pieces.map(look)].join();
      }),
    [view, layout, pieces, index],
  ).value.split(",");
  const [relation, ...drawn] = looks as [Relation, ...Look[]];
  const x = view.x(layout.lane[index] ?? 0);
  const opened = store.opened.value === row.path;

  const lines = (draw: (piece: Piece) => string) =>
    LOOKS.flatMap((look) =>
      [false, true].map((indirect) => {
        const some = pieces.filter((piece, i) => drawn[i] === look && piece.indirect === indirect);
        const d = [...new Set(some.map(draw))].join(""); // Lanes that share a place are one line.
        const style = `ke-line ke-line-${look}${indirect ? " ke-indirect" : ""}`;
        return d && <path key={style} class={style} d={d} />;
      }),
    );

  return (
    <span
      role="gridcell"
      class={`ke-cell ke-cell-lanes${relation && ` ke-lane-${relation}`}`}
      title={describeLanes(layout, store.shown.value, index)}
    >
      <svg class={`ke-lanes ke-family-${row.family}`} width={width} height={ROW_HEIGHT} aria-hidden="true">
        {lines((piece) => pathOf(piece.shape, view.x(piece.lane), x))}
        <Node row={row} x={x} />
      </svg>
      {opened && (
        <svg class="ke-lanes ke-lanes-on" width={width} viewBox={`0 0 ${width} 1`} preserveAspectRatio="none" aria-hidden="true">
          {lines(({ shape, lane }) => (shape === "above" || shape === "join" ? "" : `M${view.x(lane)} 0v1`))}
        </svg>
      )}
    </span>
  );
}

/** A piece on a lane at `from`, in the row of a node at `to`. */
function pathOf(shape: Piece["shape"], from: number, to: number): string {
  if (shape === "through") return `M${from} 0v${ROW_HEIGHT}`;
  if (shape === "above") return `M${from} 0V${MIDDLE}`;
  if (shape === "below") return `M${from} ${MIDDLE}V${ROW_HEIGHT}`;
  const edge = shape === "join" ? 0 : ROW_HEIGHT;
  if (from === to) return `M${from} ${edge}V${MIDDLE}`;
  const bend = Math.min(BEND, Math.abs(to - from));
  const turn = from + Math.sign(to - from) * bend;
  return `M${from} ${edge}V${MIDDLE + Math.sign(edge - MIDDLE) * bend}Q${from} ${MIDDLE} ${turn} ${MIDDLE}H${to}`;
}

/** Layers are round, operations stand on a corner, models are square, inputs hollow; a ring is about what is shared. */
function Node({ row, x }: { row: Row; x: number }) {
  const square = row.kind === "model" || row.kind === "op";
  return (
    <g class={`ke-node ke-node-${row.kind}`} transform={`translate(${x} ${MIDDLE})`}>
      {row.marks.includes("shared") && <circle class="ke-ring" r={7} />}
      {square ? <rect x={-4} y={-4} width={8} height={8} rx={1.5} /> : <circle r={4} />}
    </g>
  );
}

const RELATIONS: Record<Relation, [arrow: string, words: string]> = {
  "": ["", ""],
  self: ["", ""],
  feeds: ["↓", "feeds it"],
  leads: ["↓", "leads to it"],
  takes: ["↑", "takes it"],
  follows: ["↑", "follows it"],
};

/** Marks the rows at the other ends of the edges that are lit. */
export function LaneMark({ store, index }: { store: Store; index: number }) {
  const view = store.lanes;
  const relation = useMemo(() => computed(() => view.relation(index)), [view, index]).value;
  const [arrow, words] = RELATIONS[relation];
  const width = relation ? view.listWidth.value : 0;
  const mark = useRef<HTMLSpanElement>(null);
  // Nothing moves while the pointer does, so it lies over the end of a long name: with the arrow only.
  useLayoutEffect(() => {
    const box = mark.current;
    if (!box?.parentElement) return;
    box.classList.remove("ke-lane-mark-short");
    const own = box.getBoundingClientRect();
    const covers = (other: Element) => {
      const { left, right, top } = other.getBoundingClientRect();
      return own.left < right && left < own.right && top < own.bottom;
    };
    const others = [...box.parentElement.querySelectorAll(".ke-name, .ke-marks > *")];
    box.classList.toggle("ke-lane-mark-short", others.some(covers));
  }, [relation, width]);
  return arrow ? (
    <span ref={mark} class={`ke-mark ke-lane-mark ke-lane-mark-${relation}`} aria-hidden="true">
      {arrow}
      <span> {words}</span>
    </span>
  ) : null;
}

/** The row whose edges are to be lit: the one under the pointer, or in the lanes the one that the line comes from. */
export function pointedRow(store: Store, event: MouseEvent): Row | undefined {
  const target = event.target as Element;
  const index = Number(target.closest("[role=row]")?.getAttribute("aria-rowindex")) - 1;
  const cell = target.closest(".ke-cell-lanes");
  if (!cell) return store.shown.value[index];
  return store.shown.value[store.lanes.at(fromStart(cell, event), index)?.source ?? index];
}
