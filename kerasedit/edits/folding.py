"""The edit that folds batch normalizations into the layers before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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

# The weight that is scaled, and the axis of what the layer puts out (two where it is in both).
_KERNELS: dict[type, tuple[str, tuple[int, ...]]] = {
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


@dataclass(frozen=True)
class _Fold:
    """A normalization, and the layer before it that it goes into, each with its call."""

    norm: Entry
    spec: LayerSpec
    call: Call
    layer: LayerSpec
    into: Call


@dataclass(frozen=True)
class FoldBatchnorm(Edit):
    """Takes batch normalizations out and lets the layers before them do what they did.

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
        # One that was behind another one is behind a layer only after that is folded.
        while found := [fold for norm in left if isinstance(fold := _fold(work, norm), _Fold)]:
            some = True
            self._do(work, found)
            done = {fold.norm.layer for fold in found}
            left = [norm for norm in left if norm.layer not in done]
        why = [f"'{norm.path}' is not folded: {_fold(work, norm)}" for norm in left]
        if why and (not some or not (self.target is None or is_many(self.target))):
            more = f", nor are {len(why) - 1} more" if len(why) > 1 else ""
            raise StructureError(f"{why[0]}{more}.")
        work.report.notes += [f"{text}." for text in why]

    def _normalizations(self, work: Workspace) -> list[Entry]:
        """The batch normalizations that are meant, each once.

        Raises:
            TargetError: there are none, or a layer that is named alone is none.
        """
        whole = self.target is None
        found = work.graph.entries if whole else work.find(self.target, self.expect)
        kept = {
            e.layer: e
            for e in reversed(found)
            if work.spec(e.layer).cls is layers.BatchNormalization
        }
        if kept:
            return list(kept.values())[::-1]
        if self.target is None:
            raise TargetError("The model has no BatchNormalization.")
        names = listed((f"'{e.path}' ({work.spec(e.layer).cls.__name__})" for e in found), 3)
        raise TargetError(f"{target_text(self.target)} names no BatchNormalization, but {names}.")

    def _do(self, work: Workspace, folds: list[_Fold]) -> None:
        variables = [
            (layer, index)
            for fold in folds
            for layer in (fold.layer.id, fold.norm.layer)
            for index in range(len(work.spec(layer).variables or ()))
        ]
        work.need_values(variables)
        for owner in dict.fromkeys(fold.norm.owner for fold in folds):
            draft = work.draft_of(owner)
            for fold in (fold for fold in folds if fold.norm.owner == owner):
                spec = _folded(fold)
                flag = work.graph.flags.get(fold.layer.id, True)
                work.graph = work.graph.with_layers(spec, flags={spec.id: flag})
                (before,) = tensors_of(fold.call)
                draft.redirect(Ref(fold.call.id), before)
                draft.discard([fold.call.id])
                draft.change(fold.into.id, layer=spec.id)
            work.adopt(owner, draft)
        work.infer("error")
        work.report.notes += [
            f"'{fold.norm.path}' goes into '{work.prefix(fold.norm)}{fold.layer.name}'."
            for fold in folds
        ]


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
        return "it is called so that it always uses the statistics of the batch"
    if any(variable.shared is not None for variable in spec.weights):
        return "it shares its weights with another layer"
    before = _behind_linear(work, net, call)
    if isinstance(before, str):
        return before
    layer = graph.layers[before.layer]
    path = f"'{work.prefix(norm)}{layer.name}'"
    if layer.cls not in _KERNELS or layer.prototype is not None:
        return f"{path} before it ({layer.cls.__name__}) is no layer that it can go into"
    if uses[layer.id] > 1:
        return f"{path} before it is called {uses[layer.id]} times"
    if any(ref.layer in (layer.id, norm.layer) for c in net.calls for ref in c.variables):
        return "a call takes the weights themselves"
    config = layer.config or {}
    if config.get("activation") not in (None, "linear") or "activation" in layer.functions:
        return f"{path} before it has an activation"
    known = {"kernel", "depthwise_kernel", "pointwise_kernel", "bias"}
    if not {variable.name for variable in layer.variables or ()} <= known:
        return f"{path} before it has weights of another kind: it is quantized, perhaps"
    if any(variable.shared is not None for variable in layer.weights):
        return f"{path} before it shares its weights with another layer"
    out, after = net.spec(Ref(before.id)), net.spec(Ref(call.id))
    rank = len(out.shape)
    first = config.get("data_format") == "channels_first"
    axis = (spec.config or {}).get("axis", -1)
    (axis,) = axis if isinstance(axis, (list, tuple)) else (axis,)
    if axis % rank != (1 if first else rank - 1):
        return f"it is along another axis than the channels of {path}"
    if out.dtype != after.dtype:
        return f"{path} before it computes in {out.dtype}, and it in {after.dtype}"
    return _Fold(norm, spec, call, layer, before)


def _uses(work: Workspace) -> Counter[LayerId]:
    """How often each layer is called, in all of the model."""
    owners = {work.graph.root, *(e.layer for e in work.graph.entries if work.spec(e.layer).net)}
    return Counter(call.layer for owner in owners for call in work.graph.net_of(owner).calls)


def _behind_linear(work: Workspace, net: Network, call: Call) -> Call | str:
    """The call that a call comes behind, activations that do nothing aside; or why there is none."""
    while True:
        (ref,) = tensors_of(call)
        before = net.by_id[ref.call]
        spec = work.spec(before.layer)
        if len(net.consumers[before.id]) > 1 or ref in net.output_refs:
            return f"what '{spec.name}' before it makes goes elsewhere too"
        nothing = spec.cls is layers.Identity or (
            spec.cls is layers.Activation and (spec.config or {}).get("activation") == "linear"
        )
        if not nothing or spec.functions:
            return before
        call = before


def _folded(fold: _Fold) -> LayerSpec:
    """The layer that does what both did."""
    spec, norm = fold.layer, fold.spec
    own = {variable.name: index for index, variable in enumerate(spec.variables or ())}
    others = {variable.name: index for index, variable in enumerate(norm.variables or ())}
    also = tuple(Origin(norm.id, index) for index in others.values())
    name, axes = _KERNELS[spec.cls]
    epsilon = (norm.config or {})["epsilon"]
    origins = {index: Origin(spec.id, index) for index in own.values()}
    scaled = partial(_scaled, names=("kernel", *others), axes=axes, epsilon=epsilon)
    origins[own[name]] = Origin(spec.id, own[name], make=scaled, also=also)
    variables = list(spec.variables or ())
    if "bias" in own:
        start, first = Origin(spec.id, own["bias"]), "bias"
    else:
        start, first = Origin(norm.id, others["moving_mean"]), "moving_mean"
        kernel = variables[own[name]]
        shape = (norm.variables or ())[others["moving_mean"]].shape
        variables.append(VariableSpec("bias", shape, kernel.dtype))
    shifted = partial(_shifted, names=(first, *others), epsilon=epsilon)
    origins[own.get("bias", len(own))] = replace(start, make=shifted, also=also)
    return replace(
        spec,
        id=fresh_id(),
        config={**(spec.config or {}), "use_bias": True},
        variables=tuple(variables),
        origins=origins,
        heritage=None,
        twin=None,
    )


def _scale(values: Mapping[str, np.ndarray], epsilon: float) -> np.ndarray:
    """By what a normalization multiplies each channel."""
    spread = np.sqrt(values["moving_variance"].astype(np.float64) + epsilon)
    return values.get("gamma", np.ones(())).astype(np.float64) / spread


def _scaled(
    *arrays: np.ndarray, names: Sequence[str], axes: Sequence[int], epsilon: float
) -> np.ndarray:
    """A kernel that makes each channel as large as the normalization does."""
    values = dict(zip(names, arrays, strict=True))
    kernel = values["kernel"]
    shape = [1] * kernel.ndim
    for axis in axes:
        shape[axis] = kernel.shape[axis]
    return (kernel * _scale(values, epsilon).reshape(shape)).astype(kernel.dtype)


def _shifted(*arrays: np.ndarray, names: Sequence[str], epsilon: float) -> np.ndarray:
    """The bias that each channel has behind the normalization."""
    values = dict(zip(names, arrays, strict=True))
    nothing = np.zeros(())
    before = values.get("bias", nothing).astype(np.float64) - values["moving_mean"]
    after = values.get("beta", nothing) + before * _scale(values, epsilon)
    return after.astype(arrays[0].dtype)
