"""What each class of layer does with channels: the labels of what it puts out, from those it takes.

A class without a rule here stops the channels that reach it. A rule says all of a layer: which axis of
which weight belongs to which channels, and which arguments count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph.model_graph import LayerSpec, Ref, iter_refs
from .channels import BATCH, CallView, Count, Label, Labels, Unknown, reshaped

Rule = Callable[[CallView], Sequence[Labels]]

_layers: dict[str, Rule] = {}
_ops: dict[str, Rule] = {}


def rule_for(spec: LayerSpec) -> Rule | None:
    """The rule for a layer or op of Keras itself; what others made of its classes may differ."""
    if not spec.cls.__module__.startswith("keras."):
        return None
    return (_ops if spec.kind == "op" else _layers).get(spec.cls.__name__)


def _for(*names: str) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        _layers.update(dict.fromkeys(names, rule))
        return rule

    return enter


def _for_ops(*names: str) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        _ops.update(dict.fromkeys(names, rule))
        return rule

    return enter


def _of_keras(data: Mapping[str, Any]) -> bool:
    """Whether what was serialized is of Keras itself."""
    return str(data.get("module")).startswith("keras.")


def is_array(label: Label) -> bool:
    return not isinstance(label, str)


def _repeat(label: Label, times: int) -> Label:
    return label if isinstance(label, str) else np.repeat(label, times)


def _only(view: CallView) -> Labels:
    """The labels of the one tensor that a layer takes."""
    if len(view.labels) != 1:
        raise Unknown(f"it takes {len(view.labels)} tensors")
    return view.labels[0]


def _positions(view: CallView) -> str:
    return f"it is tied to positions in '{view.path}'"


_INSIDE = "it is inside a weight"  # an axis of a weight that belongs to no tensor


# -- activations ---------------------------------------------------------------------------------

# Each value on its own; what reckons with all channels (softmax) is not here.
ELEMENTWISE = {
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid",
    "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus",
    "swish", "tanh", "tanh_shrink", "threshold",
}  # fmt: skip


def _activation(view: CallView, label: Label, name: str = "activation") -> None:
    """Stops an axis over which a layer's activation may do more than take each value by itself."""
    given = view.config.get(name)
    if isinstance(given, dict) and _of_keras(given):
        inner = given.get("class_name")
        if inner in ("ReLU", "LeakyReLU", "ELU") or str(inner).lower() in ELEMENTWISE:
            return
    if name in view.spec.functions and not view.inner:
        given = view.spec.functions[name]
    if given is None or (isinstance(given, str) and given in ELEMENTWISE):
        return
    shown = given if isinstance(given, str) else getattr(given, "__name__", "its activation")
    why = f"the activation {shown} of '{view.path}' may reckon with all channels together"
    if shown in ("softmax", "log_softmax"):
        view.tracker.stop_within(view.spec.id, label, why)
    else:
        view.stop(label, why)


@_for("Activation")
def _activation_layer(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    for label in labels:
        _activation(view, label)
    return [labels]


@_for(
    "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise",
    "Identity", "LeakyReLU", "ReLU", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
    "StochasticDepth",
)  # fmt: skip
def _pass(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    for label, size in zip(labels, view.config.get("noise_shape") or (), strict=False):
        if size not in (None, 1):
            view.stop(label, f"'{view.path}' has a noise_shape for it")
    return [labels]


@_for("Softmax")
def _softmax(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    for axis in _axes(view.config.get("axis", -1)):
        why = f"'{view.path}' makes all channels sum up to 1"
        view.tracker.stop_within(view.spec.id, labels[axis], why)
    return [labels]


@_for("Rescaling")
def _rescaling(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    for name in ("scale", "offset"):
        if not isinstance(view.config.get(name), (int, float)):
            view.stop_all(labels, f"'{view.path}' has a number for each channel")
    return [labels]


@_for("PReLU")
def _prelu(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    shared = set(view.config.get("shared_axes") or ())
    alpha = [_INSIDE if i in shared else label for i, label in enumerate(labels) if i]
    view.weight("alpha", *alpha)
    return [labels]


@_for("LayerScale")
def _layer_scale(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    # The weight of this layer of the applications has an automatic name.
    (variable,) = view.spec.variables or (None,)
    if variable is None:
        raise Unknown("its weight is not known")
    view.weight(variable.name, labels[-1])
    view.counts("projection_dim", labels[-1])
    return [labels]


# -- normalisation -------------------------------------------------------------------------------


def _axes(axis: Any) -> tuple[int, ...]:
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


@_for("BatchNormalization")
def _batch_normalization(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    (axis,) = _axes(view.config.get("axis", -1))
    for variable in view.spec.weights:
        view.weight(variable.name, labels[axis])
    return [labels]


@_for("LayerNormalization", "RMSNormalization")
def _layer_normalization(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    over = [labels[axis] for axis in _axes(view.config.get("axis", -1))]
    for variable in view.spec.weights:
        view.weight(variable.name, *over)
    for label in over:
        view.mixes(label)
    return [labels]


@_for("UnitNormalization")
def _unit_normalization(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    for axis in _axes(view.config.get("axis", -1)):
        view.mixes(labels[axis])
    return [labels]


@_for("GroupNormalization")
def _group_normalization(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    axis = view.config.get("axis", -1)
    label, size = labels[axis], view.shapes[0][axis]
    groups = view.config.get("groups", 32)
    assert size is not None
    for variable in view.spec.weights:
        view.weight(variable.name, label)
    if groups in (-1, size):
        view.counts("groups", label)
    else:
        _alike_in_blocks(view, label, groups)
        view.mixes(label)
    return [labels]


def _alike_in_blocks(view: CallView, label: Label, blocks: int) -> Label:
    """Ties the first channels of all blocks to each other, then the second ones, and so on.

    Then each block loses as many. Gives the label of one block.
    """
    if isinstance(label, str):
        return label
    grid = label.reshape(blocks, -1)
    view.tracker.tie(np.broadcast_to(grid[0], grid.shape), grid)
    return grid[0].copy()


# -- layers that make channels -------------------------------------------------------------------


@_for("Dense")
def _dense(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    out = view.made(view.config["units"])
    view.weight("kernel", labels[-1], out, takes=-2, makes=-1)
    view.weight("bias", out)
    view.counts("units", out)
    view.owns(out)
    _activation(view, out)
    return [(*labels[:-1], out)]


@_for("EinsumDense")
def _einsum_dense(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    equation = view.config["equation"].replace(" ", "")
    taken, rest = equation.split(",")
    kernel, given = rest.split("->")
    if "." in equation or any(len(set(part)) < len(part) for part in (taken, kernel, given)):
        raise Unknown(f"its equation {equation!r} is not one that can be followed")
    known: dict[str, Label] = dict(zip(taken, labels, strict=True))
    sizes = dict(zip(given, view.outputs[0].shape, strict=True))
    new = [letter for letter in given if letter not in known]
    for letter in new:
        size = sizes[letter]
        assert size is not None
        known[letter] = view.made(size, letter)
    takes = [i - len(kernel) for i, x in enumerate(kernel) if x in taken and x not in given]
    makes = [i - len(kernel) for i, x in enumerate(kernel) if x in new]
    view.weight(
        "kernel",
        *(known[letter] for letter in kernel),
        takes=takes,
        makes=makes[-1] if makes else None,
    )
    bias = view.config.get("bias_axes")
    if bias:
        view.weight("bias", *_trailing(given, bias, known))
    if new:
        view.owns(known[new[-1]])
    after = tuple(known[letter] for letter in given)
    target = view.config["output_shape"]
    target = (target,) if isinstance(target, int) else tuple(target)

    def make(count: Count) -> Any:
        pairs = zip(target, after[1:], strict=True)
        return tuple(n if n is None or isinstance(x, str) else count(x) for n, x in pairs)

    view.sets("output_shape", after[1:], make)
    for label in after:
        _activation(view, label)
    return [after]


def _trailing(given: str, bias: str, known: dict[str, Label]) -> list[Label]:
    """The labels of a bias: from its first axis on, those that it spreads over have size 1."""
    first = min(given.index(letter) for letter in bias)
    return [known[x] if x in bias else _INSIDE for x in given[first:]]


@_for("Embedding")
def _embedding(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    out = view.made(view.config["output_dim"])
    view.weight("embeddings", _INSIDE, out, makes=-1)
    view.counts("output_dim", out)
    view.owns(out)
    for label in labels:
        view.stop(label, f"'{view.path}' looks numbers up")
    return [(*labels, out)]


def _channel_axis(view: CallView, rank: int) -> int:
    """Where the channels of an image, a sequence or a volume are."""
    return 1 if view.config.get("data_format") == "channels_first" else rank - 1


def _slid(view: CallView, labels: Labels, channels: Label | None = None) -> Labels:
    """What a layer puts out that slides over all axes but the batch and the channels."""
    axis = _channel_axis(view, len(labels))
    for number, label in enumerate(labels):
        if number not in (0, axis):
            view.stop(label, f"'{view.path}' slides over it")
    found = [_positions(view)] * len(labels)
    found[0] = BATCH
    return tuple(
        (labels[axis] if channels is None else channels) if number == axis else label
        for number, label in enumerate(found)
    )


@_for("Conv1D", "Conv2D", "Conv3D")
def _convolution(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    axis = _channel_axis(view, len(labels))
    taken, size = labels[axis], view.shapes[0][axis]
    window = [_INSIDE] * (len(labels) - 2)
    filters, groups = view.config["filters"], view.config.get("groups", 1)
    assert size is not None
    out: Label
    if groups == 1:
        out = view.made(filters)
        view.weight("kernel", *window, taken, out, takes=-2, makes=-1)
    elif groups == size:  # each channel for itself
        out = _repeat(taken, filters // groups)
        view.weight("kernel", *window, _INSIDE, out, makes=-1)
        view.counts("groups", taken)
    else:
        one = _alike_in_blocks(view, taken, groups)
        out = view.tracker.tiled(view.made(filters // groups), groups)
        view.weight("kernel", *window, one, out, takes=-2, makes=-1)
    view.weight("bias", out)
    view.counts("filters", out)
    view.owns(out)
    _activation(view, out)
    return [_slid(view, labels, out)]


@_for("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _transposed_convolution(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    axis = _channel_axis(view, len(labels))
    window = [_INSIDE] * (len(labels) - 2)
    out = view.made(view.config["filters"])
    view.weight("kernel", *window, out, labels[axis], takes=-1, makes=-2)
    view.weight("bias", out)
    view.counts("filters", out)
    view.owns(out)
    _activation(view, out)
    return [_slid(view, labels, out)]


@_for("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise_convolution(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    taken = labels[_channel_axis(view, len(labels))]
    window = [_INSIDE] * (len(labels) - 2)
    out = _repeat(taken, view.config["depth_multiplier"])
    view.weight("kernel", *window, taken, _INSIDE, makes=-2)
    view.weight("bias", out)
    view.owns(out)
    _activation(view, out)
    return [_slid(view, labels, out)]


@_for("SeparableConv1D", "SeparableConv2D")
def _separable_convolution(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    taken = labels[_channel_axis(view, len(labels))]
    window = [_INSIDE] * (len(labels) - 2)
    between = _repeat(taken, view.config["depth_multiplier"])
    out = view.made(view.config["filters"])
    view.weight("depthwise_kernel", *window, taken, _INSIDE)
    view.weight("pointwise_kernel", *window, between, out, takes=-2, makes=-1)
    view.weight("bias", out)
    view.counts("filters", out)
    view.owns(out)
    _activation(view, out)
    return [_slid(view, labels, out)]


# -- pooling, padding and the like ---------------------------------------------------------------


@_for(
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D",
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "CenterCrop", "Cropping1D",
    "Cropping2D", "Cropping3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Resizing",
    "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D",
    "ZeroPadding3D",
)  # fmt: skip
def _slide(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    if len(labels) < 3:
        raise Unknown("it takes a tensor without positions")
    return [_slid(view, labels)]


@_for(
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
)  # fmt: skip
def _global_pooling(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    axis = _channel_axis(view, len(labels))
    after = _slid(view, labels)
    return [after if view.config.get("keepdims") else (after[0], after[axis])]


@_for("Flatten")
def _flatten(view: CallView) -> Sequence[Labels]:
    labels, shape = _only(view), view.shapes[0]
    if view.config.get("data_format") == "channels_first" and len(shape) > 1:
        order = (0, *range(2, len(shape)), 1)
        labels, shape = tuple(labels[i] for i in order), tuple(shape[i] for i in order)
    return [(labels[0], *reshaped(view, labels[1:], shape[1:], view.outputs[0].shape[1:]))]


@_for("Reshape")
def _reshape(view: CallView) -> Sequence[Labels]:
    labels, shape = _only(view), view.shapes[0]
    after = reshaped(view, labels[1:], shape[1:], view.outputs[0].shape[1:])
    target = tuple(view.config["target_shape"])
    view.sets("target_shape", after, lambda count: _resized(target, after, count))
    return [(labels[0], *after)]


def _resized(target: Sequence[Any], labels: Labels, count: Count) -> tuple[Any, ...]:
    """A shape with what is left of its axes; what is open in it stays open."""
    pairs = zip(target, labels, strict=True)
    return tuple(n if n in (-1, None) or isinstance(x, str) else count(x) for n, x in pairs)


@_for("Permute")
def _permute(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    return [(labels[0], *(labels[axis] for axis in view.config["dims"]))]


@_for("RepeatVector")
def _repeat_vector(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    return [(labels[0], _positions(view), labels[1])]


# -- merging -------------------------------------------------------------------------------------


def _broadcast(
    view: CallView, each: Sequence[Labels], shapes: Sequence[Sequence[int | None]]
) -> Labels:
    """The labels of what tensors become that are reckoned with value by value."""
    rank = max(map(len, shapes))
    found: list[Label] = []
    for axis in range(-rank, 0):
        there = [
            (labels[axis], shape[axis])
            for labels, shape in zip(each, shapes, strict=True)
            if len(shape) >= -axis
        ]
        whole = [label for label, size in there if size != 1] or [label for label, _ in there]
        if len(whole) < len(there):
            for label, size in there:
                if size == 1:
                    view.stop(label, f"'{view.path}' spreads it over all channels")
        result = whole[0]
        for label in whole[1:]:
            result = view.tracker.join(result, label)
            view.mention("ties", result)
        found.append(result)
    return tuple(found)


@_for("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "CustomScaleLayer")
def _merge(view: CallView) -> Sequence[Labels]:
    if len({len(shape) for shape in view.shapes}) != 1:
        raise Unknown("it merges tensors of different ranks")
    return [_broadcast(view, view.labels, view.shapes)]


@_for("Dot")
def _dot(view: CallView) -> Sequence[Labels]:
    a, b = view.labels
    axes = view.config["axes"]
    i, j = (axes, axes) if isinstance(axes, int) else axes
    over = _summed(view, a[i], b[j])
    if view.config.get("normalize"):
        view.mixes(over)
    rest = [each for n, each in enumerate(a) if n not in (0, i % len(a))]
    rest += [each for n, each in enumerate(b) if n not in (0, j % len(b))]
    return [(a[0], *(rest or [_positions(view)]))]


@_for("Concatenate")
def _concatenate(view: CallView) -> Sequence[Labels]:
    return [_joined(view, view.config.get("axis", -1))]


def _joined(view: CallView, axis: int) -> Labels:
    """The labels of tensors that are put one behind the other along an axis."""
    rank = len(view.shapes[0])
    axis %= rank
    found: list[Label] = []
    for number in range(rank):
        labels = [labels[number] for labels in view.labels]
        if number != axis:
            result = labels[0]
            for label in labels[1:]:
                result = view.tracker.join(result, label)
        elif not any(map(is_array, labels)):
            result = labels[0]
        else:
            sizes = [shape[number] for shape in view.shapes]
            pairs = zip(labels, sizes, strict=True)
            result = view.tracker.beside([view.tracker.positions(x, n or 0) for x, n in pairs])
            view.mention("joins", result)
        found.append(result)
    return tuple(found)


# -- recurrent layers ----------------------------------------------------------------------------

_GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
_BY_CLASS = (*_GATES, "LayerScale")  # whose rules look at the class of the layer itself
_CELLS = {f"{name}Cell": gates for name, gates in _GATES.items()}


@_for(*_GATES)
def _recurrent(view: CallView) -> Sequence[Labels]:
    out = _cell(view, _GATES[view.spec.cls.__name__])
    view.owns(out)
    return _run(view, out)


@_for("RNN")
def _recurrent_of_cell(view: CallView) -> Sequence[Labels]:
    cell = view.config["cell"]
    inside = view.within("cell", "config")
    if cell.get("class_name") == "StackedRNNCells" and _of_keras(cell):
        if view.config.get("return_state") or len(view.labels) != 1:
            raise Unknown("it hands states on")
        out = view.labels[0][-1]
        for number, each in enumerate(cell["config"]["cells"]):
            name = each["config"]["name"]
            one = inside.within("cells", number, "config", under=_under(view, name))
            out = _cell(one, _gates_of(each), out)
    else:
        out = _cell(inside, _gates_of(cell))
    view.owns(out)
    return _run(view, out)


def _gates_of(cell: Mapping[str, Any]) -> int:
    if cell.get("class_name") not in _CELLS or not _of_keras(cell):
        raise Unknown("it is not known what its cell does with channels")
    return _CELLS[cell["class_name"]]


def _under(view: CallView, name: str) -> str:
    """What the names of the weights of a layer begin with that is somewhere inside."""
    for variable in view.spec.variables or ():
        before, found, _ = f"/{variable.name}".partition(f"/{name}/")
        if found:
            return (before + found)[1:]
    raise Unknown(f"it is not known which weights are those of its '{name}'")


@_for("Bidirectional")
def _bidirectional(view: CallView) -> Sequence[Labels]:
    outs: list[np.ndarray] = []
    for key in ("layer", "backward_layer"):
        inner = view.config[key]
        kind, config = inner.get("class_name"), inner["config"]
        if kind not in _GATES or not _of_keras(inner):
            raise Unknown(f"it is not known what its {kind} does with channels")
        if config.get("return_state") or len(view.labels) != 1:
            raise Unknown("it hands states on")
        outs.append(_cell(view.within(key, "config", under=f"{config['name']}/"), _GATES[kind]))
    mode = view.config.get("merge_mode")
    each = [_run(view.within("layer", "config"), out)[0] for out in outs]
    # Keras takes both ways to be of one size, also where they stand beside each other.
    both = view.tracker.join(*outs)
    if mode is None:
        view.owns(both)
        return each
    out = view.tracker.beside(outs) if mode == "concat" else both
    view.owns(out)
    return [(*each[0][:-1], out)]


def _cell(view: CallView, gates: int, taken: Label | None = None) -> np.ndarray:
    """Labels what a recurrent layer has: a unit has a column in each of its gates."""
    taken = view.labels[0][-1] if taken is None else taken
    out = view.made(view.config["units"])
    columns = view.tracker.tiled(out, gates)
    view.weight("kernel", taken, columns, takes=-2, makes=-1)
    view.weight("recurrent_kernel", out, columns, takes=-2)
    apart = gates == 3 and view.config.get("reset_after")  # a row for what it takes, one for itself
    view.weight("bias", *([_INSIDE, columns] if apart else [columns]))
    view.counts("units", out)
    _activation(view, out)
    _activation(view, out, "recurrent_activation")
    return out


def _run(view: CallView, out: Label) -> list[Labels]:
    """What a recurrent layer puts out, its states tied to those that it starts with."""
    config = view.config
    if config.get("stateful"):
        raise Unknown("it keeps its states between batches")
    batch, time, _ = view.labels[0]
    view.stop(time, f"'{view.path}' goes along it")
    states = list(iter_refs(view.argument("initial_state", 1)))
    if len(view.labels) != 1 + len(states):
        raise Unknown("it takes more than a sequence and states")
    for ref in states:
        out = view.tracker.join(out, view.labels_of(ref)[-1])
    found = [(batch, time, out) if config.get("return_sequences") else (batch, out)]
    if config.get("return_state"):
        found += [(batch, out)] * (len(view.outputs) - 1)
    return found


@_for("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def _convolutional_recurrent(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    config = view.config
    if config.get("stateful") or config.get("return_state"):
        raise Unknown("it hands states on")
    rank = len(labels)
    axis = 2 if config.get("data_format") == "channels_first" else rank - 1
    window = [_INSIDE] * (rank - 3)
    out = view.made(config["filters"])
    columns = view.tracker.tiled(out, 4)
    view.weight("kernel", *window, labels[axis], columns, takes=-2, makes=-1)
    view.weight("recurrent_kernel", *window, out, columns, takes=-2)
    view.weight("bias", columns)
    view.counts("filters", out)
    view.owns(out)
    _activation(view, out)
    _activation(view, out, "recurrent_activation")
    for number, label in enumerate(labels):
        if number not in (0, axis):
            view.stop(label, f"'{view.path}' slides over it")
    found: list[Label] = [BATCH, *[_positions(view)] * (rank - 1)]
    found[axis] = out
    return [tuple(found) if config.get("return_sequences") else (found[0], *found[2:])]


@_for("TimeDistributed")
def _time_distributed(view: CallView) -> Sequence[Labels]:
    inner = view.config["layer"]
    kind = inner.get("class_name")
    rule = _layers.get(kind)
    if kind in _BY_CLASS or rule is None or not _of_keras(inner):
        raise Unknown(f"it is not known what its {kind} does with channels")
    time = _only(view)[1]
    found = rule(view.within("layer", "config").at_each(1))
    return [(labels[0], time, *labels[1:]) for labels in found]


# -- attention -----------------------------------------------------------------------------------


@_for("MultiHeadAttention")
def _multi_head_attention(view: CallView) -> Sequence[Labels]:
    query, value, key = _query_value_key(view)
    heads = view.made(view.config["num_heads"], "heads")
    for name, taken in (("query", query), ("key", key), ("value", value), ("gate", query)):
        view.weight(f"{name}/kernel", taken[-1], heads, _INSIDE, takes=-3, makes=-2)
        view.weight(f"{name}/bias", heads, _INSIDE)
    if len(query) != 3 or len(view.outputs) != 1:
        raise Unknown("it attends along several axes, or puts out its scores")
    size = view.outputs[0].shape[-1]
    assert size is not None
    out = view.made(size, "out")
    view.weight("attention_output/kernel", heads, _INSIDE, out, takes=-3, makes=-1)
    view.weight("attention_output/bias", out)
    view.counts("num_heads", heads)
    given = view.config.get("output_shape")

    def make(count: Count) -> Any:
        taken = query[-1]
        as_before = size if isinstance(taken, str) else count(taken)
        return None if given is None and count(out) == as_before else (count(out),)

    view.sets("output_shape", (out,), make)
    view.owns(heads)
    _no_time(view, query, value, key)
    return [(*query[:-1], out)]


@_for("Attention", "AdditiveAttention")
def _attention(view: CallView) -> Sequence[Labels]:
    if len(view.labels) not in (2, 3) or len(view.outputs) != 1:
        raise Unknown("it puts out its scores")
    query, value, key = (*view.labels, view.labels[1])[:3]
    compared = view.tracker.join(query[-1], key[-1])
    for variable in view.spec.weights:
        view.weight(variable.name, *[compared] * len(variable.shape), takes=-1)
    if not view.spec.cls.__name__.startswith("Additive"):
        view.tracker.limit(compared, f"'{view.path}' multiplies it with another and sums up")
    elif not view.spec.weights:
        view.tracker.limit(compared, f"'{view.path}' sums it up without weights")
    _no_time(view, query, value, key)
    return [(*query[:-1], value[-1])]


@_for("GroupedQueryAttention", "GroupQueryAttention")
def _grouped_query_attention(view: CallView) -> Sequence[Labels]:
    query, value, key = _query_value_key(view)
    if len(view.outputs) != 1:
        raise Unknown("it puts out its scores")
    pairs = view.config["num_key_value_heads"]
    heads = view.made(pairs, "heads")
    queries = _repeat(heads, view.config["num_query_heads"] // pairs)
    for name, taken, own in (
        ("query", query, queries),
        ("gate", query, queries),
        ("key", key, heads),
        ("value", value, heads),
    ):
        view.weight(f"{name}/kernel", taken[-1], own, _INSIDE, takes=-3, makes=-2)
        view.weight(f"{name}/bias", own, _INSIDE)
    # It puts out as many features as it takes: the same ones, so that both lose as many.
    view.weight("attention_output/kernel", queries, _INSIDE, query[-1], takes=-3, makes=-1)
    view.weight("attention_output/bias", query[-1])
    view.counts("num_key_value_heads", heads)
    view.counts("num_query_heads", queries)
    view.owns(heads)
    _no_time(view, query, value, key)
    return [query]


def _query_value_key(view: CallView) -> tuple[Labels, Labels, Labels]:
    given = [view.argument(name, i) for i, name in enumerate(("query", "value", "key"))]
    if given[2] is None:
        given[2] = given[1]
    if not all(isinstance(ref, Ref) for ref in given):
        raise Unknown("it is not called on a query and a value")
    query, value, key = (view.labels_of(ref) for ref in given)
    return query, value, key


def _no_time(view: CallView, *each: Labels) -> None:
    for labels in each:
        view.stop_all(labels[:-1], f"'{view.path}' attends along it")


# -- raw operations ------------------------------------------------------------------------------


def _operands(view: CallView) -> tuple[list[Labels], list[Sequence[int | None]]]:
    """The labels and shapes of all that an operation takes, constants too; numbers aside."""
    labels: list[Labels] = []
    shapes: list[Sequence[int | None]] = []
    for value in (*view.call.args, *view.call.kwargs.values()):
        if isinstance(value, Ref):
            labels.append(view.labels_of(value))
            shapes.append(view.tracker.shape(value))
        elif not isinstance(value, (int, float, bool, str, type(None))):
            shape = tuple(getattr(value, "shape", ()))
            if not hasattr(value, "shape"):
                raise Unknown("it takes what is no tensor")
            labels.append((f"'{view.path}' has a number for each channel",) * len(shape))
            shapes.append(shape)
    return labels, shapes


@_for_ops(
    "Abs", "Absolute", "Cast", "Celu", "Clip", "Copy", "Elu", "Exp", "Expm1", "Gelu", "HardShrink",
    "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu", "Log", "Log1p", "LogSigmoid", "Negative",
    "Reciprocal", "Relu", "Relu6", "Rsqrt", "Selu", "Sigmoid", "Sign", "Silu", "SoftShrink",
    "Softplus", "Softsign", "SparsePlus", "SparseSigmoid", "Sqrt", "Square", "Squareplus",
    "StopGradient", "Tanh", "TanhShrink", "Threshold",
)  # fmt: skip
def _op_pass(view: CallView) -> Sequence[Labels]:
    labels, _ = _operands(view)
    if len(labels) != 1:
        raise Unknown(f"it takes {len(labels)} tensors")
    return [labels[0]]


@_for_ops(
    "Add", "Divide", "DivideNoNan", "Maximum", "Minimum", "Multiply", "Power", "Subtract",
    "TrueDivide",
)  # fmt: skip
def _op_merge(view: CallView) -> Sequence[Labels]:
    labels, shapes = _operands(view)
    return [_broadcast(view, labels, shapes)]


@_for_ops("Concatenate")
def _op_concatenate(view: CallView) -> Sequence[Labels]:
    return [_joined(view, view.spec.prototype.axis)]


@_for_ops("Softmax", "LogSoftmax")
def _op_softmax(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    axis = view.spec.prototype.axis
    over = labels if axis is None else [labels[i] for i in _axes(axis)]
    for label in over:
        why = f"'{view.path}' makes all channels sum up to 1"
        view.tracker.stop_within(view.spec.id, label, why)
    return [labels]


@_for_ops("Transpose")
def _op_transpose(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    order = view.spec.prototype.axes
    order = tuple(reversed(range(len(labels)))) if order is None else order
    return [tuple(labels[axis] for axis in order)]


@_for_ops("ExpandDims")
def _op_expand(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    rank = len(view.outputs[0].shape)
    new = {axis % rank for axis in _axes(view.spec.prototype.axis)}
    rest = iter(labels)
    return [tuple(_positions(view) if i in new else next(rest) for i in range(rank))]


@_for_ops("Squeeze")
def _op_squeeze(view: CallView) -> Sequence[Labels]:
    labels, shape = _only(view), view.shapes[0]
    axis = view.spec.prototype.axis
    gone = (
        {i for i, size in enumerate(shape) if size == 1}
        if axis is None
        else {i % len(shape) for i in _axes(axis)}
    )
    for i in gone:
        view.tracker.limit(labels[i], f"'{view.path}' takes it for a single one")
    return [tuple(label for i, label in enumerate(labels) if i not in gone)]


@_for_ops("Mean", "Sum", "Max", "Min", "Amax", "Amin")
def _op_reduce(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    op, rank = view.spec.prototype, len(labels)
    gone = set(range(rank)) if op.axis is None else {axis % rank for axis in _axes(op.axis)}
    view.stop_all((labels[i] for i in gone), f"'{view.path}' reckons with all of it together")
    kept = [_positions(view) if i in gone else label for i, label in enumerate(labels)]
    return [tuple(x for i, x in enumerate(kept) if op.keepdims or i not in gone)]


@_for_ops("GetItem")
def _op_get_item(view: CallView) -> Sequence[Labels]:
    """Axes that are taken whole go on; of others, nothing may go."""
    labels = _only(view)
    key = view.argument("key", 1)
    keys = list(key) if isinstance(key, (tuple, list)) else [key]
    if not all(k is None or k is Ellipsis or isinstance(k, (int, slice)) for k in keys):
        raise Unknown("it takes positions in a way that is not known")
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    place = keys.index(Ellipsis)
    missing = len(labels) - sum(k is not None and k is not Ellipsis for k in keys)
    keys[place : place + 1] = [slice(None)] * missing
    found: list[Label] = []
    rest = iter(labels)
    for k in keys:
        if k is None:
            found.append(_positions(view))
            continue
        label = next(rest)
        if k == slice(None):
            found.append(label)
            continue
        view.stop(label, f"'{view.path}' takes some of it by their numbers")
        if isinstance(k, slice):
            found.append(_positions(view))
    return [tuple(found)]


@_for_ops("Reshape")
def _op_reshape(view: CallView) -> Sequence[Labels]:
    labels, shape = _only(view), view.shapes[0]
    after = reshaped(view, labels, shape, view.outputs[0].shape)
    target = tuple(view.spec.prototype.newshape)
    if len(target) != len(after) or not all(isinstance(size, int) for size in target):
        raise Unknown("its new shape is not known")
    view.sets("newshape", after, lambda count: _resized(target, after, count))
    return [after]


@_for_ops("Pad")
def _op_pad(view: CallView) -> Sequence[Labels]:
    """Axes that are not padded go on; of others, nothing may go."""
    labels = _only(view)
    widths = list(view.spec.prototype.pad_width)
    widths = widths * len(labels) if len(widths) == 1 else widths
    found: list[Label] = []
    for label, width in zip(labels, widths, strict=True):
        padded = any(width)
        if padded:
            view.stop(label, f"'{view.path}' pads it")
        found.append(_positions(view) if padded else label)
    return [tuple(found)]


@_for_ops("Split")
def _op_split(view: CallView) -> Sequence[Labels]:
    labels = _only(view)
    op = view.spec.prototype
    axis = op.axis % len(labels)
    label, each = labels[axis], [out.shape[axis] for out in view.outputs]
    pieces: list[Label] = [label] * len(each)
    if not isinstance(label, str):
        ends = np.cumsum([size or 0 for size in each])[:-1].tolist()
        parts = np.split(label, ends)
        pieces = list(parts)

        def make(count: Count) -> Any:
            sizes = [count(part) for part in parts]
            given = op.indices_or_sections
            alike = isinstance(given, int) and len(set(sizes)) == 1
            return given if alike else tuple(np.cumsum(sizes)[:-1].tolist())

        view.sets("indices_or_sections", (label,), make)
    return [(*labels[:axis], piece, *labels[axis + 1 :]) for piece in pieces]


@_for_ops("Matmul")
def _op_matmul(view: CallView) -> Sequence[Labels]:
    each, shapes = _operands(view)
    (a, b), (left, right) = each, shapes
    if len(a) != len(b) or len(a) < 2:
        raise Unknown("it multiplies tensors of different ranks")
    _summed(view, a[-1], b[-2])
    around = _broadcast(view, [a[:-2], b[:-2]], [left[:-2], right[:-2]]) if len(a) > 2 else ()
    return [(*around, a[-2], b[-1])]


@_for_ops("Einsum")
def _op_einsum(view: CallView) -> Sequence[Labels]:
    each, shapes = _operands(view)
    equation = view.spec.prototype.subscripts.replace(" ", "")
    taken, _, given = equation.partition("->")
    terms = taken.split(",")
    if "->" not in equation or "." in equation or any(len(set(t)) < len(t) for t in terms):
        raise Unknown(f"its equation {equation!r} is not one that can be followed")
    known: dict[str, Label] = {}
    sizes: dict[str, int | None] = {}
    for term, labels, shape in zip(terms, each, shapes, strict=True):
        for letter, label, size in zip(term, labels, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise Unknown("it spreads an axis over others")
            if letter in known and letter in given:
                known[letter] = view.tracker.join(known[letter], label)
            elif letter in known:
                known[letter] = _summed(view, known[letter], label)
            else:
                known[letter] = label
    for letter in known.keys() - set(given):
        _summed(view, known[letter], known[letter])
    return [tuple(known[letter] for letter in given)]


def _summed(view: CallView, a: Label, b: Label) -> Label:
    """The label of axes that are multiplied with each other and summed up."""
    view.tracker.limit(a, f"'{view.path}' multiplies it with another and sums up")
    return view.tracker.join(a, b)
