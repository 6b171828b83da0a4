// What travels between the kernel and the browser: docs/protocol.md in types.

export type Family =
  | "input"
  | "core"
  | "conv"
  | "pool"
  | "norm"
  | "activation"
  | "regularization"
  | "merge"
  | "reshape"
  | "rnn"
  | "attention"
  | "preprocessing"
  | "model"
  | "op"
  | "custom";

export interface Row {
  /** What it is, whatever it is called. Missing in an older notebook, and where there is no editor. */
  id?: string;
  path: string;
  name: string;
  level: number;
  /** `"ghost"`: a layer of the source that is gone; the kernel tells of these apart from the rows. */
  kind: "layer" | "op" | "input" | "model" | "ghost";
  class_name: string;
  family: Family;
  shape: string;
  dtype: string;
  params: number;
  trainable: boolean | null;
  trainable_params: number;
  weights: number;
  marks: Mark[];
  status: "" | "added" | "changed" | "moved" | "removed";
  calls: number;
  /** How many rows above this one those stand that feed it. */
  inputs: number[];
  /** Which output of its row each of `inputs` is. Missing where all are the first. */
  ports?: number[];
  /** Of a model, for each output: how many rows below it the row stands that makes it, and which output of that. */
  outputs?: [number, number][];
  title: string;
  /** What was found of the layer; the front end takes it from the `scores`. */
  score?: number;
}

/** What was found of layers, by an ablation say. */
export interface Scores {
  label: string;
  /** By the paths of the layers that have one. */
  values: Record<string, number>;
}

/** A layer of the source that is gone: the path it had there, and the rows that it would stand behind and in. */
export interface Removed {
  path: string;
  name: string;
  level: number;
  class_name: string;
  family: Family;
  params: number;
  parent: string | null;
  after: string | null;
}

/** `[start, count]`: rows as they were sent before; or a row. */
export type Patch = ([number, number] | Row)[];

export type Mark = "shared" | "quantized" | "op" | "output";

export interface Info {
  name: string;
  class_name: string;
  params: number;
  trainable: number;
  frozen: number;
  bytes: number;
  layers: number;
  /** Steps of the history, and of those undone. */
  done: number;
  undone: number;
  can_undo: boolean;
  can_redo: boolean;
  undo_label: string;
  redo_label: string;
  editable: boolean;
  reason: string;
  /** A free variable name that the kernel proposes. */
  variable: string;
  /** The widget's own id, by which the page can ask its manager whether the kernel is still there. */
  model_id?: string;
}

/** Where a `fit` with a live callback stands. */
export interface Training {
  running: boolean;
  /** The number of the epoch, from 0. */
  epoch: number;
  epochs: number;
  /** Batches done in the epoch, of how many where that is known. */
  step: number;
  steps: number | null;
  /** Batches done since `fit` began. */
  total: number;
  /** What is no number comes as text. */
  metrics: Record<string, number | string>;
  /** Layers whose flags hold from a batch to come. */
  pending: string[];
  /** How many layers' flags changed last, and after how many batches in all; missing in an old notebook. */
  changed?: number;
  changed_at?: number;
  /** Whether the step under way is compiled first. */
  tracing: boolean;
  stopped: boolean;
  alerts: string[];
}

/** What the kernel sends unasked while a `fit` runs. */
export interface Frame {
  frame: { training: Training; paths: string[]; bins: number };
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A layer that is to be made: a class of the palette and the arguments that differ from its own. */
export interface Layer {
  class_name: string;
  config: Record<string, Json>;
}

export type Mismatch = "error" | "reinit" | "slice";
/** By what it is told which channels go first. */
export type Criterion = "l2" | "l1" | "bn_scale" | "geometric_median" | "random";
export type WeightsRule = "match" | "slice" | "none";

export type Edit = (
  | { edit: "remove"; target: string | string[]; keep?: number }
  | { edit: "insert"; block: Layer[]; after: string | string[] }
  | { edit: "insert"; block: Layer[]; before: string }
  | { edit: "replace"; target: string; block: Layer[]; weights: WeightsRule }
  | { edit: "configure"; target: string; config: Record<string, Json> }
  | { edit: "rename"; target: string; name: string }
  | { edit: "duplicate"; target: string }
  | { edit: "trim"; target: string }
  | { edit: "freeze_up_to"; target: string }
  | { edit: "freeze"; targets: string[] }
  | { edit: "unfreeze"; targets: string[] }
  | {
      edit: "prune_channels";
      target: string | string[];
      /** The share of the channels that goes; or one that stays, of what the name says. */
      fraction?: number;
      params?: number;
      flops?: number;
      size?: number;
      criterion: Criterion;
      multiple_of: number;
      scope: "layer" | "global";
    }
) & { on_mismatch?: Mismatch };

/** What an edit would do. Lists of strings hold lines of text, ready to be shown. */
export interface Plan {
  ok: boolean;
  text: string;
  errors: string[];
  warnings: string[];
  /** What else is to be known. */
  notes: string[];
  /** Path, shape before, shape after. */
  shape_changes: [string, string, string][];
  reinitialized: string[];
  sliced: string[];
  dropped: string[];
  /** Name before, name after. */
  renamed: [string, string][];
  params_before: number;
  params_after: number;
  trainable_before: number;
  trainable_after: number;
  bytes_before: number;
  bytes_after: number;
  /** Null where they are not known. */
  flops_before: number | null;
  flops_after: number | null;
  code: string;
  /** Only weights whose shape no longer fits are in the way: `on_mismatch` would help. */
  mismatch?: boolean;
}

export interface Param {
  name: string;
  /** Of a `choice`, `choices` holds every value; elsewhere those that have names. */
  type: "int" | "float" | "bool" | "str" | "choice" | "tuple" | "json";
  default: Json;
  required: boolean;
  choices?: Json[] | null;
  doc: string;
}

export interface PaletteEntry {
  class_name: string;
  family: Family;
  doc: string;
  params: Param[];
}

/** The arguments of a layer, each with its present value as default. */
export interface Arguments {
  class_name: string;
  params: Param[];
  /** Arguments whose values are nothing for a field. */
  left_out: string[];
  /** Why there is nothing to change, if so. */
  fixed: string | null;
}

/** The figures of a weight; null where there are none of finite values. */
export interface Figures {
  min: number | null;
  max: number | null;
  mean: number | null;
  std: number | null;
  zeros: number;
  nans: number;
  infs: number;
  size: number;
}

/** A value and its index. */
export type Found = [number, number[]];

/** A weight of a layer beside what it was in the source. */
export interface WeightDetail {
  path: string;
  name: string;
  shape: number[];
  dtype: string;
  trainable: boolean;
  bytes: number;
  /** Whether the source has it, and with the same values. */
  source: "none" | "same" | "other";
  /** Null for what is no numbers. */
  figures: Figures | null;
  /** Where the source has other values. */
  before: (Figures & { shape: number[] }) | null;
  edges?: [number, number];
  smallest?: Found[];
  largest?: Found[];
  /** The index of the first NaN or Inf. */
  first_bad?: number[] | null;
  notes?: string[];
}

export interface LayerDetail {
  path: string;
  revision: number;
  bins: number;
  /** Whether there is a source to compare with. */
  compared: boolean;
  weights: WeightDetail[];
  /** How many weights there are beside those. */
  more: number;
}

/** What is known of the history. */
export interface Changes {
  /** How many steps hold, and how many there are with those undone. */
  done: number;
  total: number;
  /** The number of the first of `steps`, counted from 1. */
  first: number;
  steps: { label: string; code: string }[];
}

/** What differs between the source and the edited model. */
export interface Differences {
  before: Compared;
  after: Compared;
  groups: DiffGroup[];
}

interface Compared {
  params: number;
  trainable: number;
  bytes: number;
  /** Null where they are not known. */
  flops: number | null;
}

export interface DiffGroup {
  kind: "added" | "removed" | "replaced" | "renamed" | "reconfigured" | "rewired" | "weights" | "flags";
  /** How many there are; `items` may hold less. */
  total: number;
  /** `path` is that of the row where it is, if there is one. */
  items: { label: string; detail: string; path: string | null }[];
}

/** Channels that go or stay together. */
export interface ChannelGroup {
  channels: number;
  makers: string[];
  /** What each layer that is tied to them does, and how many more there are. */
  chain: string[];
  more: number;
  /** Layers that reckon with all of them together. */
  mixed: string[];
  /** Why they cannot go. */
  reason: string;
}

export interface ChannelGroups {
  groups: ChannelGroup[];
  total: number;
}

export type CodeStyle = "kerasedit" | "keras";

/** A message without its id and revision, which the client adds. */
export type Question =
  | { query: "histograms"; paths: string[]; bins: number }
  | { query: "moments"; paths: string[]; step: number }
  | { query: "losses" }
  | { query: "palette" }
  | { query: "detail"; path: string; bins: number }
  | { query: "arguments"; path: string }
  | { query: "changes" }
  | { query: "diff" }
  | { query: "removed" }
  | { query: "channels"; paths: string[] }
  | { query: "code"; style?: CodeStyle }
  | { query: "ping" }
  | { action: "hand_back"; name: string; overwrite: boolean }
  | { action: "save"; path: string; overwrite: boolean }
  | { preview: Edit; revision: number };

/** What the kernel is told without an answer being waited for. */
export type Word = { query: "watch"; paths: string[] } | { action: "drawn" | "leave" } | { query: "ping" };

export type Action = { edit: Edit } | { action: "undo" | "redo"; n: number };

/** What the kernel answers to an action that it carried out, or will. */
export interface Done {
  revision: number;
  /** It is put off until a `fit` that runs has ended. */
  waits?: boolean;
  report?: string[];
}

export interface Problem {
  type: string;
  message: string;
  hint?: string | null;
}

export type Answer = { id: string; ok: unknown } | { id: string; error: Problem };
