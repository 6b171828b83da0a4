"""The edit that folds batch normalizations into the layers beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from keras import layers

from ..errors import StructureError, TargetError
from ..graph.model_graph import (
    Call,
    Entry,
    LayerId,
    LayerSpec,
    Network,
    Origin,
    Ref,
    VariableSpec,
    fresh_id,
)
from ..names import listed
from ..targets import Target, is_many, target_text
from .base import Edit, Workspace, tensors_of

# The weight that makes channels, and the axes of these (two where each has several).
_MAKES: dict[type, tuple[str, tuple[int, ...]]] = {
    layers.Dense: ("kernel", (-1,)),
    layers.Conv1D: ("kernel", (-1,)),
    layers.Conv2D: ("kernel", (-1,)),
    layers.Conv3D: ("kernel", (-1,)),
    layers.Conv1DTranspose: ("kernel", (-2,)),
    layers.Conv2DTranspose: ("kernel", (-2,)),
    layers.Conv3DTranspose: ("kernel", (-2,)),
    layers.DepthwiseConv1D: ("kernel", (-2, -1)),
    layers.DepthwiseConv2D: ("kernel", (-2, -1)),
    layers.SeparableConv1D: ("pointwise_kernel", (-1,)),
    layers.SeparableConv2D: ("pointwise_kernel", (-1,)),
}
_TAKES = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)


@dataclass(frozen=True)
class _Fold:
    """A normalization with its call, and the layer that it goes into: before it, or behind it."""

    norm: Entry
    call: Call
    spec: LayerSpec
    layer: LayerSpec
    into: Call
    behind: bool = False


@dataclass(frozen=True)
class FoldBatchnorm(Edit):
    """Takes batch normalizations out and lets the layers beside them do what they did.

    At inference a normalization multiplies each channel by a number and adds one, and a Dense layer or
    a convolution can do so itself (Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", 2018, section 3.2).
    """

    kind: ClassVar[str] = "fold_batchnorm"
    target: Target = None
    expect: int | None = None

    def describe(self) -> str:
        where = "" if self.target is None else f" {target_text(self.target)}"
        return f"fold batch normalizations{where}"

    def apply(self, work: Workspace) -> None:
        left = self._normalizations(work)
        some = False
        while True:
            # One that is beside another one may go only when that one has gone.
            found = [_fold(work, norm) for norm in left]
            folds = {fold.layer.id: fold for fold in found if isinstance(fold, _Fold)}
            if not folds:
                break
            _do(work, list(folds.values()))
            some = True
            done = {fold.norm.layer for fold in folds.values()}
            left = [norm for norm in left if norm.layer not in done]
        why = [
            f"'{norm.path}' is not folded: {fold}" for norm, fold in zip(left, found, strict=True)
        ]
        if why and not (some and (self.target is None or is_many(self.target))):
            more = f", nor are {len(why) - 1} more" if len(why) > 1 else ""
            raise StructureError(f"{why[0]}{more}.")
        work.report.notes += [f"{text}." for text in why]

    def _normalizations(self, work: Workspace) -> list[Entry]:
        """The batch normalizations that are meant, each once.

        Raises:
            TargetError: there are none.
        """
        whole = self.target is None
        found = work.graph.entries if whole else work.find(self.target, self.expect)
        kept: dict[LayerId, Entry] = {}
        for entry in found:
            if work.spec(entry.layer).cls is layers.BatchNormalization:
                kept.setdefault(entry.layer, entry)
        if kept:
            return list(kept.values())
        if whole:
            raise TargetError("The model has no BatchNormalization.")
        names = listed((f"'{e.path}' ({work.spec(e.layer).cls.__name__})" for e in found), 3)
        raise TargetError(f"{target_text(self.target)} names no BatchNormalization, but {names}.")


# -- what can be folded --------------------------------------------------------------------------


def _fold(work: Workspace, norm: Entry) -> _Fold | str:
    """What a normalization is folded into, or why it is not."""
    graph = work.graph
    net, spec = graph.net_of(norm.owner), graph.layers[norm.layer]
    if net.opaque:
        return "the call of its model is Python code"
    uses = _uses(work)
    (call, *_) = net.calls_of[norm.layer]
    if uses[norm.layer] > 1:
        return f"it is called {uses[norm.layer]} times"
    if len(call.args) != 1 or call.kwargs.get("training") not in (None, False):
        return "it is called so that it uses the statistics of the batch"
    if any(variable.shared is not None for variable in spec.weights):
        return "it shares its weights with another layer"
    before = _before(work, net, call, uses)
    if isinstance(before, Call):
        return _Fold(norm, call, spec, graph.layers[before.layer], before)
    behind = _behind(work, net, call, uses)
    if isinstance(behind, Call):
        return _Fold(norm, call, spec, graph.layers[behind.layer], behind, behind=True)
    return f"{before}, and {behind}"


def _uses(work: Workspace) -> Counter[LayerId]:
    """How often each layer is called, in all of the model."""
    owners = {work.graph.root, *(e.layer for e in work.graph.entries if work.spec(e.layer).net)}
    return Counter(call.layer for owner in owners for call in work.graph.net_of(owner).calls)


def _before(work: Workspace, net: Network, call: Call, uses: Counter[LayerId]) -> Call | str:
    """The call before a normalization that it can go into, or why there is none."""
    (ref,) = tensors_of(call)
    before = net.by_id[ref.call]
    spec = work.spec(before.layer)
    if len(net.consumers[before.id]) > 1 or ref in net.output_refs:
        return f"what '{spec.name}' before it makes goes elsewhere too"
    if _does_nothing(spec):
        return _before(work, net, before, uses)
    if spec.cls not in _MAKES:
        return f"'{spec.name}' before it ({spec.cls.__name__}) cannot do its work"
    config = spec.config or {}
    if config.get("activation") not in (None, "linear") or "activation" in spec.functions:
        return f"'{spec.name}' before it has an activation"
    out, after = net.spec(ref), net.spec(Ref(call.id))
    if out.dtype != after.dtype:
        return f"'{spec.name}' before it computes in {out.dtype}, and it in {after.dtype}"
    norm = work.spec(call.layer)
    why = _not_of_channels(norm, spec, len(out.shape)) or _not_usable(net, spec, uses)
    return f"'{spec.name}' before it {why}" if why else before


def _behind(work: Workspace, net: Network, call: Call, uses: Counter[LayerId]) -> Call | str:
    """The call behind a normalization that it can go into, or why there is none."""
    takers = net.consumers.get(call.id, [])
    if len(takers) != 1 or Ref(call.id) in net.output_refs:
        return "what it makes goes to no single layer"
    (behind,) = takers
    spec = work.spec(behind.layer)
    if spec.cls not in _TAKES:
        return f"'{spec.name}' behind it ({spec.cls.__name__}) cannot do its work"
    if (spec.config or {}).get("padding", "valid") != "valid":
        return f"'{spec.name}' behind it pads with zeros, which are zeros only behind it"
    norm, rank = work.spec(call.layer), len(net.spec(Ref(call.id)).shape)
    why = _not_of_channels(norm, spec, rank) or _not_usable(net, spec, uses)
    return f"'{spec.name}' behind it {why}" if why else behind


def _does_nothing(spec: LayerSpec) -> bool:
    linear = (spec.config or {}).get("activation") == "linear" and not spec.functions
    return spec.cls is layers.Identity or (spec.cls is layers.Activation and linear)


def _not_of_channels(norm: LayerSpec, layer: LayerSpec, rank: int) -> str:
    """Why what is a channel for a normalization is none for a layer, if so."""
    axis = (norm.config or {}).get("axis", -1)
    (axis,) = axis if isinstance(axis, (list, tuple)) else (axis,)
    first = (layer.config or {}).get("data_format") == "channels_first"
    return "" if axis % rank == (1 if first else rank - 1) else "has its channels on another axis"


def _not_usable(net: Network, spec: LayerSpec, uses: Counter[LayerId]) -> str:
    """Why a layer cannot be given other weights, if so."""
    names = {variable.name for variable in spec.variables or ()}
    if uses[spec.id] > 1:
        return f"is called {uses[spec.id]} times"
    if not names <= {"kernel", "depthwise_kernel", "pointwise_kernel", "bias"}:
        return f"has weights of another kind ({', '.join(sorted(names))})"
    if any(variable.shared is not None for variable in spec.weights):
        return "shares its weights with another layer"
    if any(ref.layer == spec.id for call in net.calls for ref in call.variables):
        return "has weights that a call takes"
    return ""


# -- folding -------------------------------------------------------------------------------------


def _do(work: Workspace, folds: list[_Fold]) -> None:
    """Takes normalizations out, each into a layer of its own."""
    work.need_values(spec.id for fold in folds for spec in (fold.layer, fold.spec))
    for owner in dict.fromkeys(fold.norm.owner for fold in folds):
        draft = work.draft_of(owner)
        for fold in (fold for fold in folds if fold.norm.owner == owner):
            new = _folded(fold)
            flag = work.graph.flags.get(fold.layer.id, True)
            work.graph = work.graph.with_layers(new, flags={new.id: flag})
            (call,) = (call for call in draft.calls if call.id == fold.call.id)
            draft.redirect(Ref(call.id), tensors_of(call)[0])
            draft.discard([call.id])
            draft.change(fold.into.id, layer=new.id)
            path = work.prefix(fold.norm) + fold.layer.name
            work.report.notes.append(f"'{fold.norm.path}' goes into '{path}'.")
        work.adopt(owner, draft)
    work.infer("error")


def _folded(fold: _Fold) -> LayerSpec:
    """The layer that does what both did, with where its weights come from."""
    spec, norm = fold.layer, fold.spec
    config = {**(spec.config or {}), "use_bias": True}
    own = {variable.name: index for index, variable in enumerate(spec.variables or ())}
    name, axes = ("kernel", ()) if fold.behind else _MAKES[spec.cls]
    parts = {"kernel": Origin(spec.id, own[name])}
    if "bias" in own:
        parts["bias"] = Origin(spec.id, own["bias"])
    norms = enumerate(norm.variables or ())
    parts |= {variable.name: Origin(norm.id, index) for index, variable in norms}
    epsilon = (norm.config or {})["epsilon"]
    if fold.behind:
        groups = config.get("groups", 1)
        reckon = [partial(rule, groups=groups) for rule in (_kernel_behind, _bias_behind)]
    else:
        reckon = [partial(_kernel_before, axes=axes), _bias_before]

    def made(first: str, rule: Callable[..., np.ndarray]) -> Origin:
        others = [part for part in parts if part != first]
        make = partial(_by_names, names=(first, *others), epsilon=epsilon, rule=rule)
        return replace(parts[first], make=make, also=tuple(parts[part] for part in others))

    origins = {index: Origin(spec.id, index) for index in own.values()}
    origins[own[name]] = made("kernel", reckon[0])
    origins[own.get("bias", len(own))] = made("bias" if "bias" in own else "kernel", reckon[1])
    variables = spec.variables or ()
    if "bias" not in own:
        kernel = variables[own[name]]
        size = math.prod(kernel.shape[axis] for axis in axes or (-1,))
        variables = (*variables, VariableSpec("bias", (size,), kernel.dtype))
    return replace(
        spec,
        id=fresh_id(),
        config=config,
        variables=variables,
        origins=origins,
        heritage=None,
        twin=None,
    )


Values = Mapping[str, np.ndarray]


def _by_names(
    *arrays: np.ndarray,
    names: Sequence[str],
    epsilon: float,
    rule: Callable[[Values, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """A weight by a rule of the weights and of what a normalization multiplies by and adds."""
    values = {name: a.astype(np.float64) for name, a in zip(names, arrays, strict=True)}
    scale = values.get("gamma", 1.0) / np.sqrt(values["moving_variance"] + epsilon)
    shift = values.get("beta", 0.0) - values["moving_mean"] * scale
    return rule(values, scale, shift).astype(arrays[0].dtype)


def _kernel_before(
    values: Values, scale: np.ndarray, shift: np.ndarray, axes: Sequence[int]
) -> np.ndarray:
    kernel = values["kernel"]
    shape = [1] * kernel.ndim
    for axis in axes:
        shape[axis] = kernel.shape[axis]
    return kernel * scale.reshape(shape)


def _bias_before(values: Values, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return values["bias"] * scale + shift if "bias" in values else shift


def _kernel_behind(values: Values, scale: np.ndarray, shift: np.ndarray, groups: int) -> np.ndarray:
    return values["kernel"] * _for_each(scale, values["kernel"], groups)


def _bias_behind(values: Values, scale: np.ndarray, shift: np.ndarray, groups: int) -> np.ndarray:
    """A place that is 0 gives each channel's shift, which the kernel sums up."""
    kernel = values["kernel"]
    more = (kernel * _for_each(shift, kernel, groups)).sum(axis=tuple(range(kernel.ndim - 1)))
    return values["bias"] + more if "bias" in values else more


def _for_each(numbers: np.ndarray, kernel: np.ndarray, groups: int) -> np.ndarray:
    """Numbers of what is taken as they stand in a kernel: its groups take different channels."""
    return np.repeat(numbers.reshape(groups, -1).T, kernel.shape[-1] // groups, axis=1)
