"""Floating point operations of a graph, for one sample: a multiplication and an addition are two.

Counted as in Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
Inference" (2017), appendix A.1: what has weights by its multiply-adds. A bias counts one addition for
each value, an activation one operation, and so does all else for each value that it puts out, or that
it takes if it makes one of several. What only moves values counts nothing. It is what `predict` does:
dropout and noise count nothing, and a batch normalization multiplies and adds.

A layer counts by the shapes of its weights and tensors alone. So what it will count with fewer
channels is told by other shapes, before anything is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .model_graph import (
    Call,
    LayerId,
    LayerSpec,
    ModelGraph,
    Ref,
    VariableRef,
    iter_leaves,
    map_leaves,
)

Shape = tuple[int | None, ...]


class Unknown(Exception):
    """Operations that are not known; says of what, and why."""


class Shapes:
    """The shapes of the tensors and weights of a graph."""

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        nets = [spec.net for spec in graph.layers.values() if spec.net is not None]
        self._outputs = {call.id: call.outputs or () for net in nets for call in net.calls}

    def tensor(self, ref: Ref) -> Shape:
        return self._outputs[ref.call][ref.index].shape

    def weight(self, layer: LayerId, index: int) -> tuple[int, ...]:
        return (self.graph.layers[layer].variables or ())[index].shape


def count_flops(graph: ModelGraph) -> int | None:
    """The operations of one sample through the model; None where a size or a layer is not known."""
    try:
        return operations(Shapes(graph))
    except Unknown:
        return None


def operations(shapes: Shapes) -> int:
    """The operations of one sample through a model of such shapes.

    Raises:
        Unknown: a size or a layer is not known.
    """
    graph = shapes.graph
    # Without a batch of a fixed size, the one open axis of a tensor is that of the batch.
    fixed = all(shapes.tensor(ref)[0] is not None for ref in graph.net.input_refs)
    return _network(shapes, graph.root, "", fixed)


def _network(shapes: Shapes, owner: LayerId, prefix: str, fixed: bool) -> int:
    net = shapes.graph.net_of(owner)
    if net.opaque:
        raise Unknown(f"the call of '{shapes.graph.layers[owner].name}' is Python code")
    total = 0
    for call in net.calls:
        spec = shapes.graph.layers[call.layer]
        if spec.kind == "input":
            continue
        path = prefix + spec.name
        if spec.net is not None:
            inside = [shapes.tensor(ref) for ref in spec.net.input_refs]
            if not spec.net.opaque and inside != [shapes.tensor(ref) for ref in call.refs]:
                raise Unknown(f"'{path}' is called on other shapes than it was made for")
            total += _network(shapes, call.layer, path + "/", fixed)
            continue
        try:
            case = _case(shapes, call, spec, fixed)
            total += _rule(case)(case)
        except Unknown as problem:
            raise Unknown(f"those of '{path}' ({spec.cls.__name__}), as {problem}") from None
        except (AttributeError, LookupError, TypeError, ValueError):
            why = "it is called in a way that is not known"
            raise Unknown(f"those of '{path}' ({spec.cls.__name__}), as {why}") from None
    return total


# -- a call as a rule sees it ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Tensor:
    """A tensor or an array in the arguments of a call."""

    shape: Shape


@dataclass(frozen=True)
class _Case:
    """A call of a layer or op: of which class of Keras, its arguments and the shapes of all.

    Attributes:
        name: that of the class.
        module: where the class is.
        settings: the configuration of a layer, the attributes of an op.
        fixed: whether the batch has a fixed size.
    """

    name: str
    module: str
    is_op: bool
    settings: Mapping[str, Any]
    weights: Mapping[str, tuple[int, ...]]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    outputs: Sequence[Shape]
    fixed: bool = False
    taken: list[Shape] = field(init=False)

    def __post_init__(self) -> None:
        given = (self.args, {k: v for k, v in self.kwargs.items() if not k.endswith("mask")})
        object.__setattr__(self, "taken", [t.shape for t in iter_leaves(_Tensor, given)])

    def argument(self, name: str, position: int) -> Any:
        """An argument of the call; None where it is not given."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[position] if position < len(self.args) else None

    def size(self, shape: Shape) -> int:
        """The number of values of a tensor, for one sample."""
        sizes = shape[1:] if self.fixed else [size for size in shape if size is not None]
        if (self.fixed and None in sizes) or len(shape) - len(sizes) > 1:
            raise Unknown("a size is open")
        return math.prod(map(_known, sizes))

    @property
    def values(self) -> int:
        """How many values it puts out."""
        return sum(map(self.size, self.outputs))

    @property
    def values_taken(self) -> int:
        return sum(map(self.size, self.taken))

    def added(self, values: int) -> int:
        """The operations of a bias and of an activation on a layer's values."""
        active = self.settings.get("activation") not in (None, "linear")
        return values * (("bias" in self.weights) + active)

    def inside(self, steps: bool) -> _Case:
        """The layer inside a wrapper that calls it once, or for each of the second axis."""
        inner = self.settings["layer"]
        if not str(inner.get("module")).startswith("keras."):
            raise Unknown(f"it is not known what its {inner.get('class_name')} does")
        config = inner["config"]
        under = f"{config['name']}/"
        weights = {name.removeprefix(under): shape for name, shape in self.weights.items()}
        names = {"name": inner["class_name"], "module": inner["module"], "settings": config}
        case = replace(self, **names, weights=weights)
        if not steps:
            return case

        def rest(shape: Shape) -> Shape:
            return shape[:1] + shape[2:]

        args = map_leaves(
            lambda x: _Tensor(rest(x.shape)) if isinstance(x, _Tensor) else x, self.args
        )
        return replace(case, args=args, outputs=list(map(rest, self.outputs)))


def _case(shapes: Shapes, call: Call, spec: LayerSpec, fixed: bool) -> _Case:
    def known(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return _Tensor(shapes.tensor(leaf))
        if isinstance(leaf, VariableRef):
            return _Tensor(shapes.weight(leaf.layer, leaf.index))
        return _Tensor(tuple(leaf.shape)) if hasattr(leaf, "shape") else leaf

    cls = _class_of(spec.cls)
    is_op = spec.kind == "op"
    weights = {
        variable.name: shapes.weight(spec.id, index)
        for index, variable in enumerate(spec.variables or ())
        if variable.weight
    }
    return _Case(
        cls.__name__,
        cls.__module__,
        is_op,
        vars(spec.prototype) if is_op else spec.config or {},
        weights,
        map_leaves(known, call.args),
        map_leaves(known, call.kwargs),
        [shapes.tensor(Ref(call.id, index)) for index in range(len(call.outputs or ()))],
        fixed,
    )


def _class_of(cls: Any) -> type:
    """The class of Keras whose `call` a layer runs."""
    for base in cls.__mro__:
        if base.__module__.startswith("keras.") and cls.call is getattr(base, "call", None):
            return base
    raise Unknown("what its call does is not known")


def _known(size: int | None) -> int:
    if size is None:
        raise Unknown("a size is open")
    return size


# -- rules -----------------------------------------------------------------------------------------

Rule = Callable[[_Case], int]

_layers: dict[str, Rule] = {}
_ops: dict[str, Rule] = {}


def _for(*names: str, ops: Sequence[str] = ()) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        _layers.update(dict.fromkeys(names, rule))
        _ops.update(dict.fromkeys(ops, rule))
        return rule

    return enter


def _rule(case: _Case) -> Rule:
    """The rule for a class of Keras; what has no weights and none of its own counts by its values."""
    if case.is_op:
        found = _ops.get(case.name)
        if found is None and not case.module.endswith((".numpy", ".nn")):
            raise Unknown("it is not known what it does")
        return found or _each_value
    found = _layers.get(case.name)
    if found is None and case.weights:
        raise Unknown("it is not known what its weights are for")
    return found or _each_value


@_for("LayerScale", "PReLU")
def _each_value(case: _Case) -> int:
    return case.values


@_for(
    "ActivityRegularization", "AlphaDropout", "CenterCrop", "Concatenate", "Cropping1D", "Cropping2D",
    "Cropping3D", "Dropout", "Flatten", "GaussianDropout", "GaussianNoise", "Identity", "Permute",
    "RepeatVector", "Reshape", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
    "StochasticDepth", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
    ops=(
        "BroadcastTo", "Cast", "Concatenate", "ConvertToTensor", "Copy", "DepthToSpace", "ExpandDims",
        "Flip", "FullLike", "GetItem", "Hstack", "Moveaxis", "OnesLike", "Pad", "Repeat", "Roll",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Stack", "StopGradient", "Swapaxes", "Take",
        "TakeAlongAxis", "Tile", "Transpose", "Unstack", "Vstack", "ZerosLike",
    ),
)  # fmt: skip
def _free(case: _Case) -> int:
    return 0


@_for(ops=("Ravel", "Rearrange", "Reshape", "View"))
def _reshaped(case: _Case) -> int:
    """Free, but what makes further samples of positions would be lost to the count."""
    if case.values != case.values_taken:
        raise Unknown("it puts positions into the batch")
    return 0


@_for(
    "FlaxLayer", "JaxLayer", "Lambda", "MelSpectrogram", "Pipeline", "STFTSpectrogram", "TFSMLayer",
    "TorchModuleWrapper",
    ops=(
        "BinaryCrossentropy", "CTCDecode", "CTCLoss", "CategoricalCrossentropy", "ConvTranspose",
        "Convolve", "Correlate", "Corrcoef", "Cross", "Fold", "Kron", "Median", "Nanmedian",
        "Nanpercentile", "Nanquantile", "Percentile", "Quantile", "SeparableConv", "Slogdet",
        "Sparsemax", "Unfold", "Unique", "Vdot",
    ),
)  # fmt: skip
def _not_known(case: _Case) -> int:
    raise Unknown("it is not known what it does")


@_for("Activation")
def _activation(case: _Case) -> int:
    return case.added(case.values)


# -- layers with weights ---------------------------------------------------------------------------


def _adapted(case: _Case) -> int:
    """What LoRA adds to a kernel, once for each batch (Hu et al., 2021): a product, scaled, added."""
    a, b = case.weights.get("lora_kernel_a"), case.weights.get("lora_kernel_b")
    if a is None or b is None:
        return 0
    if "kernel_scale" in case.weights:
        raise Unknown("it is quantized and has LoRA weights")
    return 2 * math.prod(a) * b[-1] + 2 * math.prod(a[:-1]) * b[-1]


@_for("Dense")
def _dense(case: _Case) -> int:
    taken = _known(case.taken[0][-1])
    return 2 * case.values * taken + _adapted(case) + case.added(case.values)


@_for("EinsumDense")
def _einsum_dense(case: _Case) -> int:
    equation = case.settings["equation"]
    found = _summed_products(case, equation, [case.taken[0], case.weights["kernel"]])
    return found + _adapted(case) + case.added(case.values)


def _summed_products(case: _Case, equation: str, shapes: Sequence[Shape]) -> int:
    """The operations of an einsum of one or two operands.

    Each value put out is a sum over the axes that are not: a multiplication and an addition for each
    of their positions, or one of both where there is only that.
    """
    taken, _, given = equation.replace(" ", "").partition("->")
    terms = taken.split(",")
    if "->" not in equation or len(terms) > 2:
        raise Unknown(f"the order of its products, {equation!r:.80}, is not known")
    sizes: dict[str, int | None] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, _, behind = term.partition("...")
        first = zip(before, shape, strict=False)
        last = zip(reversed(behind), reversed(shape), strict=False)
        for letter, size in (*first, *last):
            sizes[letter] = max(sizes.get(letter) or 0, size or 0) or None
    gone = [_known(size) for letter, size in sizes.items() if letter not in given]
    return case.values * math.prod(gone) * (2 if gone and len(terms) == 2 else 1)


@_for(
    "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D",
    "SeparableConv2D",
)  # fmt: skip
def _convolution(case: _Case) -> int:
    """Kernels are applied at every place of what is put out; those of groups have fewer channels."""
    kernels = [shape for name, shape in case.weights.items() if name.endswith("kernel")]
    places = math.prod(_places(case, case.outputs[0]))
    applied = 2 * places * sum(map(math.prod, kernels))
    return applied + _adapted(case) + case.added(case.values)


@_for("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _transposed_convolution(case: _Case) -> int:
    """Its kernel is applied at every place of what it takes."""
    places = math.prod(_places(case, case.taken[0]))
    return 2 * places * math.prod(case.weights["kernel"]) + case.added(case.values)


def _places(case: _Case, shape: Shape) -> list[int]:
    first = case.settings.get("data_format") == "channels_first"
    return list(map(_known, shape[2:] if first else shape[1:-1]))


@_for("Embedding")
def _embedding(case: _Case) -> int:
    """A row is looked up; with LoRA (Hu et al., 2021) one is reckoned, scaled and added."""
    b = case.weights.get("lora_embeddings_b")
    return 0 if b is None else case.values * (2 * b[0] + 2)


@_for("ReversibleEmbedding")
def _reversible_embedding(case: _Case) -> int:
    if not case.argument("reverse", 1):
        return _embedding(case)
    return 2 * case.values * _known(case.taken[0][-1])


# -- normalisations --------------------------------------------------------------------------------


@_for("BatchNormalization", "Normalization", "Rescaling", "CustomScaleLayer", ops=("BatchNorm",))
def _scaled(case: _Case) -> int:
    """A multiplication and an addition for each value."""
    return 2 * case.values


@_for("LayerNormalization", "GroupNormalization", ops=("LayerNorm",))
def _centred(case: _Case) -> int:
    """Mean (an addition), variance (a difference, its square, an addition), division; the weights."""
    return case.values * (5 + len(case.weights))


@_for("RMSNormalization", "UnitNormalization", ops=("Normalize", "RMSNorm"))
def _of_length_one(case: _Case) -> int:
    """A square, an addition and a division; the weights."""
    return case.values * (3 + len(case.weights))


# -- pooling, reducing, merging --------------------------------------------------------------------


@_for(
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "MaxPooling1D", "MaxPooling2D",
    "MaxPooling3D",
    ops=("AveragePool", "MaxPool"),
)  # fmt: skip
def _pooling(case: _Case) -> int:
    window = case.settings["pool_size"]
    rank = len(case.taken[0]) - 2
    return case.values * (math.prod(window) if not isinstance(window, int) else window**rank)


@_for(
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
    ops=(
        "AdaptiveAveragePool", "AdaptiveMaxPool", "All", "Amax", "Amin", "Any", "Argmax", "Argmin",
        "CountNonzero", "Max", "Mean", "Min", "Prod", "SegmentReduction", "Sum", "Trace",
    ),
)  # fmt: skip
def _reduced(case: _Case) -> int:
    return case.values_taken


@_for(ops=("Logsumexp", "Moments", "Std", "Var"))
def _reduced_twice(case: _Case) -> int:
    """Three operations for each value: a difference, a square or exponential, an addition."""
    return 3 * case.values_taken


@_for("Add", "Maximum", "Minimum", "Multiply", "Subtract")
def _merged(case: _Case) -> int:
    return (len(case.taken) - 1) * case.values


@_for("Average")
def _average(case: _Case) -> int:
    return len(case.taken) * case.values


@_for("Dot")
def _dot(case: _Case) -> int:
    axes = case.settings["axes"]
    axis = axes if isinstance(axes, int) else axes[0]
    return 2 * case.values * _known(case.taken[0][axis])


# -- recurrent layers ------------------------------------------------------------------------------

# Beside products and biases, for each unit and step: what gates and candidates add, their activations,
# and how the next state is made of these. By the number of gates: SimpleRNN, GRU (Cho et al., 2014),
# LSTM (Hochreiter and Schmidhuber, 1997).
_FOR_EACH_UNIT = {1: 2, 3: 11, 4: 13}
_CELLS = ("SimpleRNNCell", "GRUCell", "LSTMCell")


@_for("SimpleRNN", "GRU", "LSTM")
def _recurrent(case: _Case) -> int:
    return _known(case.argument("sequences", 0).shape[1]) * _step(case)


@_for("RNN")
def _recurrent_of_cell(case: _Case) -> int:
    cell = case.settings["cell"]
    stacked = cell.get("class_name") == "StackedRNNCells"
    for each in cell["config"]["cells"] if stacked else [cell]:
        if each.get("class_name") not in _CELLS or not str(each.get("module")).startswith("keras."):
            raise Unknown(f"it is not known what its {each.get('class_name')} does")
    return _recurrent(case)


@_for("Bidirectional")
def _bidirectional(case: _Case) -> int:
    for inner in (case.settings["layer"], case.settings["backward_layer"]):
        if inner.get("class_name") not in ("SimpleRNN", "GRU", "LSTM"):
            raise Unknown(f"it is not known what its {inner.get('class_name')} does")
    merged = {"sum": 1, "mul": 1, "ave": 2}.get(case.settings["merge_mode"], 0)
    return _recurrent(case) + merged * case.size(case.outputs[0])


def _step(case: _Case, places: int = 1) -> int:
    """The operations of one step of all cells that a layer has, at each of some places."""
    total = 0
    for name, recurrent in case.weights.items():
        if name.endswith("recurrent_kernel"):
            under = name.removesuffix("recurrent_kernel")
            *_, units, columns = recurrent
            total += 2 * math.prod(recurrent) + 2 * math.prod(case.weights[under + "kernel"])
            total += math.prod(case.weights.get(under + "bias", (0,)))
            total += units * _FOR_EACH_UNIT[columns // units]
    return places * total


@_for("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def _convolutional_recurrent(case: _Case) -> int:
    """Shi et al., "Convolutional LSTM Network" (2015), without peepholes: an LSTM at each place."""
    steps = _known(case.argument("sequences", 0).shape[1])
    out = case.outputs[0]
    shape = out[:1] + out[2:] if case.settings.get("return_sequences") else out
    return steps * _step(case, math.prod(_places(case, shape)))


@_for("TimeDistributed")
def _time_distributed(case: _Case) -> int:
    inner = case.inside(steps=True)
    return _known(case.taken[0][1]) * _rule(inner)(inner)


@_for("SpectralNormalization")
def _spectral_normalization(case: _Case) -> int:
    inner = case.inside(steps=False)
    return _rule(inner)(inner)


# -- attention -------------------------------------------------------------------------------------


@_for("MultiHeadAttention", "GroupedQueryAttention")
def _multi_head_attention(case: _Case) -> int:
    """Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

    Projections; for each head and each pair of positions a product of a query and a key, a softmax and
    a share of a value; the scaling of the queries; the projection of what comes out.
    """
    given = [case.argument(name, i) for i, name in enumerate(("query", "value", "key"))]
    query, value, key = (each.shape for each in (*given[:2], given[2] or given[1]))
    rank = len(query)
    along = case.settings.get("attention_axes") or tuple(range(1, rank - 1))
    along = (along,) if isinstance(along, int) else along
    of = {"query": query, "key": key, "value": value, "gate": query, "attention_output": query}
    positions = {name: math.prod(map(_known, shape[1:-1])) for name, shape in of.items()}
    total = 0
    for name, shape in case.weights.items():
        layer, _, kind = name.rpartition("/")
        total += positions[layer] * math.prod(shape) * (2 if kind == "kernel" else 1)
    *_, heads, size = case.weights["query/kernel"]
    out = case.weights["value/kernel"][-1]
    queries = positions["query"] * heads
    pairs = queries * math.prod(_known(key[axis]) for axis in along)
    gated = 2 * queries * out if "gate/kernel" in case.weights else 0
    return total + queries * size + pairs * (2 * size + 1 + 2 * out) + gated


@_for("Attention", "AdditiveAttention")
def _attention(case: _Case) -> int:
    """Luong et al. (2015), and Bahdanau et al. (2014): scores by products, or by sums through tanh."""
    query, value, key = (*case.taken, case.taken[1])[:3]
    size, out = _known(query[-1]), _known(value[-1])
    pairs = math.prod(map(_known, query[1:-1])) * _known(key[-2])
    scaled = "scale" in case.weights
    if case.name == "AdditiveAttention":
        score = size * (3 + scaled)
    elif case.settings.get("score_mode") == "concat":
        score = size * (3 + scaled) + 1
    else:
        score = 2 * size + scaled
    return pairs * (score + 1 + 2 * out)


@_for(ops=("DotProductAttention",))
def _op_attention(case: _Case) -> int:
    query, key, value = case.taken[:3]
    _, positions, heads, size = map(_known, (1, *query[1:]))
    out = _known(value[-1])
    queries = positions * heads
    return queries * size + queries * _known(key[1]) * (2 * size + 1 + 2 * out)


# -- products --------------------------------------------------------------------------------------


@_for(ops=("Matmul", "Dot", "Inner"))
def _op_matmul(case: _Case) -> int:
    return 2 * case.values * _known(case.taken[0][-1])


@_for(ops=("Tensordot",))
def _op_tensordot(case: _Case) -> int:
    axes, shape = case.settings["axes"], case.taken[0]
    summed = shape[len(shape) - axes :] if isinstance(axes, int) else _picked(shape, axes[0])
    return 2 * case.values * math.prod(map(_known, summed))


def _picked(shape: Shape, axes: int | Sequence[int]) -> Shape:
    return tuple(shape[axis] for axis in ((axes,) if isinstance(axes, int) else axes))


@_for(ops=("Einsum",))
def _op_einsum(case: _Case) -> int:
    return _summed_products(case, case.settings["subscripts"], case.taken)


@_for(ops=("Conv",))
def _op_convolution(case: _Case) -> int:
    return 2 * case.values * math.prod(map(_known, case.taken[1][:-1]))


@_for(ops=("DepthwiseConv",))
def _op_depthwise_convolution(case: _Case) -> int:
    return 2 * case.values * math.prod(map(_known, case.taken[1][:-2]))
