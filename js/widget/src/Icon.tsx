// Line drawings on a 16 × 16 grid.
const PATHS = {
  undo: "M6 3 3 6l3 3M3 6h6a4 4 0 0 1 0 8H6",
  redo: "m10 3 3 3-3 3M13 6H7a4 4 0 0 0 0 8h3",
  freeze: "M8 2v12M3 5l10 6M3 11l10-6M6 2.8 8 4.5l2-1.7M6 13.2l2-1.7 2 1.7",
  thaw: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6M8 1.5V3M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1",
  handBack: "M2 8h8M7 5l3 3-3 3M10 3h4v10h-4",
  code: "M5.5 4.5 2 8l3.5 3.5M10.5 4.5 14 8l-3.5 3.5",
  save: "M3 3h8l2 2v8H3zM5.5 3v3.5h4V3M5 13V9.5h6V13",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  insertBefore: "M8 7V1.5M5.2 4.2h5.6M2.5 10h11v4h-11z",
  insertAfter: "M8 9v5.5M5.2 11.8h5.6M2.5 2h11v4h-11z",
  replace: "M2.5 6h10L9.8 3.2M13.5 10h-10l2.7 2.8",
  remove: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4",
  rename: "m3 13 .6-3L10.5 3l2.5 2.5-7 7zM9 4.5 11.5 7",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  fold: "m6 4 4 4-4 4",
  filter: "M2.5 3.5h11L9.5 8.5v4l-3 1.5v-5.5z",
  history: "M2.5 8a5.5 5.5 0 1 0 1.8-4.1L2.5 5.6M2.5 2.5v3.1h3.1M8 5v3.3l2.2 1.4",
  check: "m3 8.5 3.5 3.5 6.5-7.5",
  close: "m4 4 8 8M12 4l-8 8",
  refresh: "M13 8a5 5 0 1 1-1.6-3.7L13 6M13 2.5V6H9.5",
  warning: "M8 2.5 14 13H2zM8 6.5v3M8 11.3h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={`ke-icon ke-icon-${name}`} viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
