"""The editing methods: each makes one edit. The editor applies it, the preview plans it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import keras
import numpy as np

from . import _keras
from .blocks import Block, make_block, needs_tensor
from .edits import (
    AddBranch,
    AddOutput,
    Append,
    Configure,
    Connect,
    Densify,
    Disconnect,
    Duplicate,
    Edit,
    Extract,
    FoldBatchnorm,
    Freeze,
    FreezeUpTo,
    GrowChannels,
    GrowOutputs,
    Inline,
    Insert,
    MapWeights,
    Move,
    Nest,
    PruneChannels,
    Quantize,
    RecalibrateBatchnorm,
    Reinitialize,
    Remove,
    RemoveOutput,
    Rename,
    Replace,
    ReplaceBetween,
    ScaleWeights,
    SetInput,
    SetWeights,
    Sparsify,
    Transaction,
    Trim,
    Unfreeze,
)
from .edits.base import BLOCKS, TARGETS, Workspace
from .edits.layers import config_value
from .edits.quantizing import read_config, with_weights
from .edits.regions import entering
from .edits.structure import once_each, places, single_output, tensor_at
from .edits.wiring import dtype_name, leaving, make_merge
from .errors import EditError, TargetError
from .graph.infer import OnMismatch
from .targets import select

if TYPE_CHECKING:
    from .editor import Editor

Result = TypeVar("Result")


class EditMethods(ABC, Generic[Result]):
    """Every editing method, in terms of what becomes of the edit that it makes."""

    @property
    @abstractmethod
    def _editor(self) -> Editor:
        """The editor whose model is meant."""

    @abstractmethod
    def _run(self, make: Callable[[], Edit]) -> Result:
        """Takes the edit that `make` returns. `make` raises where the arguments cannot be right."""

    def apply(self, edit: Edit) -> Result:
        """Takes an edit object, as `ed.history` holds them, or one of your own.

        Its fields may be what the method of that edit takes: a layer as the block of
        `kerasedit.edits.Insert`, a class as a target.

        Raises:
            EditError: it is no edit, or one with a function of tensors, which only the method can trace.
        """

        def make() -> Edit:
            if not isinstance(edit, Edit):
                raise EditError(f"An edit object is needed, not {edit!r:.80}.")
            return self._as_data(edit)

        return self._run(make)

    # -- structure -------------------------------------------------------------------------------

    def remove(
        self,
        target: Any,
        *,
        keep: int | str | None = None,
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Takes layers out; their consumers take the layer's input.

        Args:
            target: which layers.
            keep: of a merge layer, which of its inputs stays: a number from 0 or a path.
            call: of a shared layer, which call; without it all are meant.
            expect: how many layers the target has to name.
            on_mismatch: what becomes of a weight whose shape no longer fits: `"error"`,
                `"reinit"` or `"slice"`.

        Raises:
            TargetError: the target names no such layer.
            StructureError: it is an input, or a merge layer without `keep`.
            ShapeMismatch: what follows cannot take what comes now.
        """
        return self._run(
            lambda: Remove(self._data(target), self._optional(keep), call, expect, on_mismatch)
        )

    def insert(
        self,
        block: Any,
        *,
        after: Any = None,
        before: Any = None,
        input: int | str | None = None,
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a block into the model.

        Args:
            block: a layer, a list of layers, a model, or a function of tensors. It is copied.
            after: all consumers of this layer, model outputs included, take the block. Of a layer
                with several outputs the first is meant.
            before: only this layer takes the block. With both, only the one edge between them.
            input: before a layer with several inputs, which: a number from 0 or a path.
            call, expect, on_mismatch: as in `remove`.

        Raises:
            TargetError, ShapeMismatch, StructureError: as in `remove`.
            NameTaken: the block has a chosen name that belongs to another layer.
        """

        def make() -> Edit:
            behind, ahead, which = map(self._optional, (after, before, input))
            if not needs_tensor(block):
                return Insert(make_block(block), behind, ahead, which, call, expect, on_mismatch)
            # What is traced is traced for the tensor at each place.
            work = self._workspace()
            edits = []
            for entry in places(work, behind, ahead, call, expect):
                tensor = tensor_at(work, which, entry, before is not None, call)
                made = make_block(block, tensor)
                edits.append(
                    Insert(made, entry.path, None, None, call, None, on_mismatch)
                    if before is None
                    else Insert(made, behind, entry.path, which, call, None, on_mismatch)
                )
            return edits[0] if len(edits) == 1 else Transaction("insert", tuple(edits))

        return self._run(make)

    def append(self, block: Any, *, on_mismatch: OnMismatch = "error") -> Result:
        """Puts a block behind the model's output.

        Raises:
            StructureError: the model has several outputs; use `insert(block, after=...)`.
        """

        def make() -> Edit:
            if not needs_tensor(block):
                return Append(make_block(block), on_mismatch)
            work = self._workspace()
            tensor = work.graph.net.spec(single_output(work))
            return Append(make_block(block, tensor), on_mismatch)

        return self._run(make)

    def replace(
        self,
        target: Any,
        block: Any,
        *,
        weights: Literal["match", "slice", "none"] = "match",
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a block in the place of layers.

        Args:
            target: which layers.
            block: a layer, a list of layers, a model, or a function of tensors. It is copied.
            weights: what an unbuilt block keeps of the old weights: `"match"` those of the same
                name and shape, `"slice"` also the overlapping part, `"none"` nothing. What it does
                not keep starts fresh and is listed in the plan.
            call, expect: as in `remove`.
            on_mismatch: as in `remove`; it governs the other layers.

        Raises:
            TargetError, ShapeMismatch, StructureError, NameTaken: as in `insert`.
        """

        def make() -> Edit:
            which = self._data(target)
            if not needs_tensor(block):
                return Replace(which, make_block(block), weights, call, expect, on_mismatch)
            work = self._workspace()
            edits = []
            for entry in once_each(work.find(which, expect)):
                tensor = tensor_at(work, None, entry, True, call)
                made = make_block(block, tensor)
                edits.append(Replace(entry.path, made, weights, call, None, on_mismatch))
            return edits[0] if len(edits) == 1 else Transaction("replace", tuple(edits))

        return self._run(make)

    def rename(self, target: Any, name: str, *, expect: int | None = None) -> Result:
        """Gives a layer another name.

        Raises:
            NameTaken: a layer beside it has the name.
        """
        return self._run(lambda: Rename(self._data(target), name, expect))

    def trim(self, target: Any, *, expect: int | None = None) -> Result:
        """Makes a layer the output and drops all past it.

        Args:
            target: the layer; or a whole number, the count of layers (not ops or inputs) to drop
                from the end.

        Raises:
            StructureError: dropping that many layers would cut several branches.
        """
        return self._run(lambda: Trim(self._data(target), expect))

    def replace_between(
        self,
        start: Any,
        stop: Any,
        block: Any,
        *,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a block in the place of all layers from `start` to `stop`, both included.

        Args:
            start, stop: the first and the last layer; all on a way between them goes.
            block: as in `insert`. It takes what enters the region: one tensor, or (a single layer or
                a model) a list of them, in the order in which the region takes them.
            expect, on_mismatch: as in `remove`.

        Raises:
            StructureError: no way leads from `start` to `stop`, or something inside also feeds what
                is outside.
            TargetError, ShapeMismatch, NameTaken: as in `insert`.
        """

        def make() -> Edit:
            first, last = self._counted(start, expect), self._counted(stop, expect)
            tensor = entering(self._workspace(), first, last) if needs_tensor(block) else None
            return ReplaceBetween(first, last, make_block(block, tensor), on_mismatch)

        return self._run(make)

    def add_branch(
        self,
        block: Any,
        *,
        source: Any,
        into: Any,
        merge: Any,
        input: int | str | None = None,
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a block on a second way from one layer to another.

        Args:
            block: as in `insert`; it takes the output of `source`.
            source: where the branch begins; of a shared layer, its last call.
            into: the layer into whose input it is merged.
            merge: a layer that merges `[what into took, the branch]`, such as `layers.Add()`.
            input: of an `into` with several inputs, which: a number from 0 or a path.
            call: of a shared `into`, which call; without it all are meant.
            expect, on_mismatch: as in `remove`.

        Raises:
            StructureError: it would make a circle, or the layers are in different models.
            TargetError, ShapeMismatch, NameTaken: as in `insert`.
        """

        def make() -> Edit:
            begin, end = self._counted(source, expect), self._counted(into, expect)
            tensor = leaving(self._workspace(), begin) if needs_tensor(block) else None
            made, which = make_block(block, tensor), self._optional(input)
            return AddBranch(made, begin, end, make_merge(merge), which, call, on_mismatch)

        return self._run(make)

    def connect(
        self,
        source: Any,
        into: Any,
        *,
        merge: Any,
        input: int | str | None = None,
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """A skip connection: merges the output of `source` into the input of `into`.

        The arguments are those of `add_branch`.
        """
        return self._run(
            lambda: Connect(
                self._counted(source, expect),
                self._counted(into, expect),
                make_merge(merge),
                self._optional(input),
                call,
                on_mismatch,
            )
        )

    def disconnect(
        self,
        source: Any,
        into: Any,
        *,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Takes a connection away again. A merge layer that is left with one tensor goes too.

        Args:
            source: where the connection comes from.
            into: the merge layer that takes it, or the layer behind that.
            expect, on_mismatch: as in `remove`.

        Raises:
            StructureError: there is no such connection, or nothing would be left to take.
        """
        return self._run(
            lambda: Disconnect(
                self._counted(source, expect), self._counted(into, expect), on_mismatch
            )
        )

    def duplicate(
        self,
        target: Any,
        *,
        after: Any = None,
        weights: bool = True,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a second layer of the same kind behind the first, or behind another one.

        Args:
            target: which layers; a nested model is doubled with all inside it.
            after: where it goes, as in `insert`; without it right behind the layer itself.
            weights: whether it starts with the same weights, or with fresh ones.
            expect, on_mismatch: as in `remove`.

        Raises:
            StructureError: the layer is shared, takes several tensors, or is an input.
        """
        return self._run(
            lambda: Duplicate(
                self._data(target), self._optional(after), weights, expect, on_mismatch
            )
        )

    def move(
        self,
        target: Any,
        *,
        after: Any,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Takes a layer out of its place and puts it, weights and all, behind another one.

        Args:
            target: the layer.
            after: where it goes, as in `insert`.
            expect, on_mismatch: as in `remove`.

        Raises:
            StructureError: the layer is shared, takes several tensors, or is an input.
        """
        return self._run(lambda: Move(self._data(target), self._data(after), expect, on_mismatch))

    def configure(
        self,
        target: Any,
        *,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
        **config: Any,
    ) -> Result:
        """Gives layers other constructor arguments; weights stay where their shapes do.

        Args:
            target: which layers. Of a pattern, those without such an argument are passed over.
            expect, on_mismatch: as in `remove`; the latter also governs the layer's own weights.
            config: the arguments: `activation="gelu"`, `kernel_regularizer=keras.regularizers.L2(1e-4)`.

        Raises:
            EditError: the layer has no such argument, or Keras refuses the value.
            ShapeMismatch: a weight would need another shape.
        """
        return self._run(
            lambda: Configure(
                self._data(target),
                {name: config_value(value) for name, value in config.items()},
                expect,
                on_mismatch,
            )
        )

    def extract(self, start: Any, stop: Any, *, expect: int | None = None) -> Result:
        """Leaves only the part from `start` to `stop`, both included, as the whole model.

        What enters that part becomes its inputs. Both may be inside the same nested model.

        Raises:
            StructureError: no way leads from `start` to `stop`.
        """
        return self._run(lambda: Extract(self._counted(start, expect), self._counted(stop, expect)))

    def set_input(
        self,
        shape: tuple[int | None, ...] | None = None,
        dtype: Any = None,
        input: int | str | None = None,
        *,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Gives an input of the model another shape or dtype; weights are kept.

        Args:
            shape: without the batch, as in `keras.Input`; None for a size that is open.
            dtype: as in `keras.Input`.
            input: of a model with several inputs, which: a number from 0 or a name.
            on_mismatch: as in `remove`.

        Raises:
            ShapeMismatch: a layer cannot take it, or (behind a Flatten, perhaps) has weights that no
                longer fit.
        """
        given = tuple(map(_number, shape)) if isinstance(shape, (list, tuple)) else shape
        return self._run(
            lambda: SetInput(
                given,
                None if dtype is None else dtype_name(dtype),
                self._optional(input),
                on_mismatch,
            )
        )

    def add_output(
        self,
        target: Any,
        name: str | None = None,
        *,
        call: int | None = None,
        expect: int | None = None,
    ) -> Result:
        """Makes the output of a layer, also inside a nested model, one of the model's outputs too.

        Args:
            target: the layer.
            name: what the output is called: a key where the outputs are a dictionary, else the name
                of an `Identity` layer that is put there, as Keras calls outputs by their layers.
            call: of a shared layer, which call; without it the last.
            expect: as in `remove`.

        Raises:
            StructureError: it is an output already.
            NameTaken: another output has the name.
        """
        return self._run(lambda: AddOutput(self._data(target), name, call, expect))

    def remove_output(self, target: Any, *, expect: int | None = None) -> Result:
        """Takes away one of the model's outputs, and all layers that only it needed.

        Args:
            target: the output's name or key, or the layer that makes it.
            expect: as in `remove`.

        Raises:
            StructureError: it is the only one.
            TargetError: it is no output.
        """
        return self._run(lambda: RemoveOutput(self._data(target), expect))

    def inline(self, target: Any, *, expect: int | None = None) -> Result:
        """Unpacks a nested model: its layers become those of the model around it.

        A layer whose name is taken there gets the nested model's name in front of its own.

        Raises:
            StructureError: it is no nested model, or its call is Python code.
        """
        return self._run(lambda: Inline(self._data(target), expect))

    def nest(self, start: Any, stop: Any, name: str, *, expect: int | None = None) -> Result:
        """Makes all layers from `start` to `stop`, both included, a nested model.

        Raises:
            StructureError: no way leads from `start` to `stop`.
            NameTaken: a layer beside it has the name.
        """
        return self._run(
            lambda: Nest(self._counted(start, expect), self._counted(stop, expect), name)
        )

    # -- weights ---------------------------------------------------------------------------------

    def set_weights(self, target: Any, arrays: Any, *, expect: int | None = None) -> Result:
        """Gives weights other values. Undo brings those from before back.

        Args:
            target: layers, or one weight: `"dense/kernel"`.
            arrays: a list in the order of `layer.get_weights()`, a dictionary by the weights' names,
                or the one array for one weight. Each has its weight's shape; dtypes are converted.
            expect: how many layers the target has to name.

        Raises:
            ShapeMismatch: an array has another shape than its weight, or there are too many or few.
            TargetError: there is no such layer or weight.
        """
        return self._run(lambda: SetWeights(self._data(target), _arrays(arrays), expect))

    def scale_weights(
        self, target: Any, factor: float, weight: str | None = None, *, expect: int | None = None
    ) -> Result:
        """Multiplies weights (those of floating point) by a number.

        Args:
            target: layers, or one weight: `"dense/kernel"`.
            factor: the number.
            weight: only weights of this name: `"kernel"`.
            expect: how many layers the target has to name.
        """
        return self._run(lambda: ScaleWeights(self._data(target), _number(factor), weight, expect))

    def map_weights(
        self, target: Any, fn: Any, weight: str | None = None, *, expect: int | None = None
    ) -> Result:
        """Puts weights (those of floating point) through a function.

        Args:
            target, weight, expect: as in `scale_weights`.
            fn: takes the NumPy array of a weight and returns one of the same shape.

        Raises:
            EditError: the function fails.
            ShapeMismatch: it returns another shape.
        """
        return self._run(lambda: MapWeights(self._data(target), fn, weight, expect))

    def reinitialize(self, target: Any, *, expect: int | None = None) -> Result:
        """Draws weights anew from their initializers.

        Args:
            target: layers, or one weight: `"dense/kernel"`.
            expect: how many layers the target has to name.

        Raises:
            EditError: the layer is quantized, or has variables that a fresh one has not.
        """
        return self._run(lambda: Reinitialize(self._data(target), expect))

    # -- shrinking -------------------------------------------------------------------------------

    def prune_channels(
        self,
        target: Any,
        *,
        drop: Any = None,
        keep: Any = None,
        fraction: float | None = None,
        params: float | None = None,
        flops: float | None = None,
        size: float | None = None,
        criterion: Any = "l2",
        multiple_of: int = 1,
        scope: Literal["layer", "global"] = "layer",
        seed: int | None = None,
        data: Any = None,
        expect: int | None = None,
        outputs: bool = False,
    ) -> Result:
        """Takes channels out of layers, and out of all other layers that these are tied to.

        What the model puts out is what it would put out with the channels set to zero wherever they
        are taken. Of `drop`, `keep`, `fraction`, `params`, `flops` and `size`, one is given.

        Args:
            target: layers that make channels (those of `ed.channel_groups()`), or such a group. Of a
                pattern, a class or a predicate, layers whose channels cannot go are passed over.
            drop, keep: the channels of each layer by their numbers, or a dictionary by layers' paths.
            fraction: the share of the channels that goes, from 0 to 1; at least one always stays.
            params, flops, size: the share that stays of the model's parameters, of the operations for
                a sample, or of the bytes of its weights: hardly less than it, and never more.
            criterion: which channels go first: those with the smallest `"l1"` or `"l2"` norm of the
                weights that make them, the smallest `"bn_scale"` behind them, those that are nearest
                to all others (`"geometric_median"`), those without which the loss on `data` changes
                least (`"taylor"`), those that are most often zero on it where they are taken
                (`"activation"`), `"random"` ones, or a list with a score for each
                channel of one layer, the lowest going first.
            multiple_of: each layer keeps a multiple of this many, never fewer than without it.
            scope: `"layer"` takes the same share of each group, `"global"` compares the scores of
                all, each divided by the mean of its layer.
            seed: of `"random"`.
            data: of `"taylor"` and `"activation"`: a tuple `(x, y)` of arrays, or batches of this form;
                for the latter, `x` alone will do.
            expect: how many layers the target has to name.
            outputs: whether outputs of the model may lose channels too; a softmax there is then one
                of those that are left.

        Raises:
            TargetError: a layer that is named alone makes no channels.
            StructureError: its channels cannot go, as they reach an output of the model, perhaps.
            EditError: all channels would go, there are no such ones, or the share cannot be reached.
        """

        def make() -> Edit:
            numbers = criterion if isinstance(criterion, str) else _numbers(criterion)
            return PruneChannels(
                self._data(target),
                _channels(drop),
                _channels(keep),
                _number(fraction),
                _number(params),
                _number(flops),
                _number(size),
                numbers,
                _number(multiple_of),
                scope,
                _number(seed),
                expect,
                outputs,
                (data, None) if hasattr(data, "shape") or isinstance(data, Mapping) else data,
            )

        return self._run(make)

    def grow_channels(
        self,
        target: Any,
        to: int,
        *,
        init: Literal["function_preserving", "random"] = "function_preserving",
        noise: float = 0.0,
        seed: int | None = None,
        expect: int | None = None,
    ) -> Result:
        """Gives layers more channels, and all other layers that these are tied to.

        What the model puts out stays the same, up to rounding.

        Args:
            target: layers that make channels (those of `ed.channel_groups()`), or such a group. Of a
                pattern, a class or a predicate, layers whose channels cannot grow are passed over.
            to: how many channels each of them has then.
            init: `"function_preserving"` adds copies, in turn, and divides the weights of what takes
                them (Net2Wider of Chen et al., 2016); `"random"` draws new channels from the layers'
                initializers, and what takes them has zeros for them.
            noise: how much copies differ from what they are copies of, as a share of the spread of the
                weights that make them. With it the outputs change a little; without it, or dropout in
                training, copies stay copies.
            seed: of what is drawn; the edit keeps the one that was used.
            expect: how many layers the target has to name.

        Raises:
            TargetError: a layer that is named alone makes no channels.
            StructureError: its channels cannot be more, as they reach an output or a normalisation
                over all of them, perhaps.
            EditError: it has more channels, or cannot have just as many.
        """

        def make() -> Edit:
            return GrowChannels(
                self._data(target), _number(to), init, _number(noise), _number(seed), expect
            )

        return self._run(make)

    def grow_outputs(
        self, n: int, output: str | int | None = None, *, seed: int | None = None
    ) -> Result:
        """Adds classes to an output of the model, behind those that there are.

        The layer that makes it, Dense or a convolution, gets further units from its own initializers;
        the old ones stay as they are, to the bit.

        Args:
            n: how many more.
            output: which output, where the model has several: its name, key or number, or its layer.
            seed: of what is drawn; the edit keeps the one that was used.

        Raises:
            StructureError: the output comes from another layer, or several are meant.
            TargetError: there is no such output.
        """
        return self._run(lambda: GrowOutputs(_number(n), _number(output), _number(seed)))

    def fold_batchnorm(self, target: Any = None, *, expect: int | None = None) -> Result:
        """Takes batch normalizations out and lets the layers before them do what they did.

        What `predict` gives stays the same, up to rounding. The Dense layer or convolution before one
        gets other weights, and a bias if it had none.

        Args:
            target: the normalizations; without it all. Those that cannot be folded are passed over
                and told in the plan and in `ed.report`.
            expect: how many layers the target has to name.

        Raises:
            TargetError: there are none.
            StructureError: none of them can be folded; it says why.
        """
        return self._run(lambda: FoldBatchnorm(self._optional(target), expect))

    def recalibrate_batchnorm(self, data: Any) -> Result:
        """Gives batch normalizations the mean and variance of what they take on data.

        After channels went or weights were changed, what a normalization takes is no longer what its
        moving mean and variance are of. Only these two change, of all batch normalizations, frozen ones
        too. Each works with the mean and variance of its batch meanwhile, and what all batches have is
        taken together (Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021): with one batch the
        result is exact, and the larger the batches, the nearer it is.

        Args:
            data: inputs as `predict` takes them, or a tuple `(x, y)`, of which `y` does not matter; 32
                samples are a batch then. Or batches of either form.

        Raises:
            TargetError: the model has no BatchNormalization.
            EditError: it does not take the data, or there is none.
        """
        return self._run(lambda: RecalibrateBatchnorm(data))

    def quantize(
        self,
        mode: str | None = None,
        filters: Any = None,
        *,
        target: Any = "**",
        config: Any = None,
        expect: int | None = None,
    ) -> Result:
        """Keeps weights in fewer bits, as Keras's own `model.quantize` does it.

        `ed.quantization()` tells what was quantized, what was not and why, and what it changed.

        Args:
            mode: `"int8"`, `"int4"` or `"float8"`.
            filters: as in Keras: a regular expression or several, one of which is found in the names of
                layers that are meant, or a function of a layer that tells whether it is.
            target: which layers, in the editor's own way. Those that Keras cannot quantize are passed
                over, unless one is named alone.
            config: a `keras.quantizers.QuantizationConfig`, which tells the mode too.
            expect: how many layers the target has to name.

        Raises:
            EditError: there is no such mode, or Keras refuses.
            StructureError: nothing there can be quantized.
        """

        def make() -> Edit:
            where, names = self._data(target), filters
            if callable(filters):
                graph = self._editor.graph
                meant = {entry.path for entry in with_weights(graph, select(graph, where))}

                def let_in(view: Any) -> bool:
                    return view.path in meant and any(map(filters, _keras.all_layers(view.layer)))

                where, names = self._data(let_in), None
            elif names is not None and not isinstance(names, str):
                names = tuple(names)
            return Quantize(*_mode_of(mode, config), names, where, expect)

        return self._run(make)

    def sparsify(
        self,
        target: Any,
        sparsity: float | None = None,
        *,
        pattern: Literal["magnitude", "2:4"] = "magnitude",
        expect: int | None = None,
    ) -> Result:
        """Sets the smallest values of kernels to zero, and holds them there in training.

        What is zero before a step of `fit` is zero after it, also of a model that was saved and loaded.
        `ed.densify` lets the zeros go.

        Args:
            target: which layers; of a pattern, those that have no kernels to hold are passed over.
            sparsity: the share of each kernel that is zero then, from 0 to below 1. With 0.0, only what
                is zero already is held: `SparsitySchedule` can add to it in `fit`.
            pattern: `"2:4"` sets two of each four values to zero that a layer takes in a row, as some
                hardware wants it.
            expect: how many layers the target has to name.

        Raises:
            StructureError: the weights of a layer that is named alone cannot be held at zero.
            EditError: the share is none.
        """
        return self._run(
            lambda: Sparsify(
                self._data(target), None if sparsity is None else _number(sparsity), pattern, expect
            )
        )

    def densify(self, target: Any = "**", *, expect: int | None = None) -> Result:
        """Lets zeros go that `sparsify` holds. They stay zero until they are trained."""
        return self._run(lambda: Densify(self._data(target), expect))

    # -- flags -----------------------------------------------------------------------------------

    def freeze(self, *targets: Any, expect: int | None = None) -> Result:
        """Lets layers keep their weights in training; of a nested model, all inside it."""
        return self._run(lambda: Freeze(tuple(map(self._data, self._some(targets))), expect))

    def unfreeze(self, *targets: Any, expect: int | None = None) -> Result:
        """Lets layers train; of a nested model, all inside it."""
        return self._run(lambda: Unfreeze(tuple(map(self._data, self._some(targets))), expect))

    def freeze_up_to(self, target: Any, *, expect: int | None = None) -> Result:
        """Freezes a layer and all before it in data order."""
        return self._run(lambda: FreezeUpTo(self._data(target), expect))

    # -- helpers ---------------------------------------------------------------------------------

    def _workspace(self) -> Workspace:
        return self._editor._workspace()

    def _as_data(self, edit: Edit) -> Edit:
        """An edit with what its method makes of the layers and targets that it holds."""
        if isinstance(edit, Transaction):
            return replace(edit, edits=tuple(map(self._as_data, edit.edits)))
        given = {item.name: getattr(edit, item.name) for item in fields(edit)}
        rules = {name: edit.checks.get(name, name) for name in given}
        return replace(edit, **{name: self._field(rules[name], own) for name, own in given.items()})

    def _field(self, rule: str, value: Any) -> Any:
        if rule == "targets":
            several = isinstance(value, (list, tuple))
            return tuple(map(self._data, self._some(tuple(value) if several else (value,))))
        if rule in TARGETS:
            return self._optional(value)
        if rule not in BLOCKS or isinstance(value, Block):
            return value
        if rule == "merge":
            return make_merge(value)
        if needs_tensor(value):
            raise EditError(
                "A function of tensors is traced by the method: ed.insert(function, ...)."
            )
        return make_block(value)

    def _data(self, target: Any) -> Any:
        return self._editor.target_data(target)

    def _counted(self, target: Any, expect: int | None) -> Any:
        """A target as data, checked here: an edit that needs one layer holds no number of them."""
        data = self._data(target)
        if expect is not None:
            self._workspace().find(data, expect)
        return data

    def _optional(self, target: Any) -> Any:
        return None if target is None else self._data(target)

    @staticmethod
    def _some(targets: tuple[Any, ...]) -> tuple[Any, ...]:
        if not targets:
            raise TargetError("Name the layers to freeze or unfreeze; '**' names all.")
        return targets


def _arrays(given: Any) -> Any:
    """Arrays as data of their own: later changes of what was given do not matter."""
    if isinstance(given, Mapping):
        return {str(name): _array(value) for name, value in given.items()}
    if isinstance(given, (list, tuple)) and not _is_flat(given):
        return [_array(value) for value in given]
    return [_array(given)]


def _array(value: Any) -> np.ndarray:
    try:
        live = isinstance(value, keras.Variable) or keras.ops.is_tensor(value)
        return np.array(keras.ops.convert_to_numpy(value) if live else value)
    except (TypeError, ValueError) as problem:
        raise EditError(f"A value for a weight is no array: {problem}") from problem


def _is_flat(given: Any) -> bool:
    """Whether a list is the values of one vector, and no list of arrays."""
    return bool(given) and all(isinstance(item, (bool, int, float)) for item in given)


def _channels(given: Any) -> Any:
    """Numbers of channels as data: a tuple, or a dictionary of lists."""
    if isinstance(given, Mapping):
        return {str(path): list(_channels(own)) for path, own in given.items()}
    if given is None:
        return None
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return (int(given),)
    array = np.asarray(list(given) if isinstance(given, (range, set, frozenset)) else given)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise EditError(f"Channels are given by their numbers, a list of them, not {given!r:.80}.")
    return tuple(int(index) for index in array)


def _numbers(given: Any) -> tuple[float, ...]:
    array = _array(given)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise EditError("Scores are a list of numbers, one for each channel of the layer.")
    return tuple(float(value) for value in array)


def _mode_of(mode: str | None, config: Any) -> tuple[str, dict[str, Any] | None]:
    """A mode of quantization and its configuration as data, of which one tells the other."""
    if config is None:
        if mode is None:
            raise EditError("Say how to quantize: ed.quantize('int8').")
        return mode, None
    if isinstance(config, keras.quantizers.QuantizationConfig):
        config = keras.saving.serialize_keras_object(config)
    if not isinstance(config, Mapping):
        raise EditError(f"config= is a keras.quantizers.QuantizationConfig, not {config!r:.80}.")
    meant = read_config(config).mode
    if mode not in (None, meant):
        raise EditError(f"The mode is {mode!r:.80}, and config= is for {meant!r}.")
    return meant, dict(config)


def _number(value: Any) -> Any:
    """A number of NumPy as Python's, so that it is data."""
    return value.item() if isinstance(value, np.generic) else value


__all__ = ["Block", "EditMethods"]
