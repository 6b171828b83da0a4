"""What quantizing did: to which layers, to the size, and to what the model puts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..edits import Quantize
from ..edits.base import Workspace
from ..graph.build import Built
from ..graph.model_graph import ModelGraph
from ..names import listed, visible
from ..probe import make_probe
from ..running import Side
from ..verify import OutputCheck, compare_outputs, output_text
from ..views import count_bytes, layer_bytes


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer with weights, as an edit left it.

    Attributes:
        path, class_name: what it is.
        quantized: whether the edit quantized it.
        reason: why not.
        bytes_before, bytes_after: of its weights.
    """

    path: str
    class_name: str
    quantized: bool
    reason: str
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Quantization:
    """What `ed.quantize` did last; `str` tells it in words.

    Attributes:
        mode: `"int8"`, `"int4"` or `"float8"`.
        layers: every layer with weights that was named.
        bytes_before, bytes_after: of all weights of the model.
        outputs: by name, each output after the edit beside the same from before it.
        samples: how many samples they were found with.
    """

    mode: str
    layers: tuple[QuantizedLayer, ...]
    bytes_before: int
    bytes_after: int
    outputs: Mapping[str, OutputCheck]
    samples: int

    def __str__(self) -> str:
        done = [layer for layer in self.layers if layer.quantized]
        lines = [
            f"Quantized to {self.mode}: {listed(repr(layer.path) for layer in done)}",
            *(
                f"  not '{layer.path}' ({layer.class_name}, {layer.bytes_after:,} bytes): "
                f"{layer.reason}"
                for layer in self.layers
                if not layer.quantized
            ),
            f"  bytes of all weights: {self.bytes_before:,} to {self.bytes_after:,}",
            *(f"  output '{name}' {output_text(check)}" for name, check in self.outputs.items()),
            f"  found with {self.samples} samples",
        ]
        return "\n".join(map(visible, lines))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def quantization_of(
    edit: Quantize,
    work: Workspace,
    after: ModelGraph,
    make: Callable[[ModelGraph], Built],
    inputs: Any,
) -> Quantization:
    """What an edit did.

    Args:
        edit: the edit.
        work: the model before it; the edit is made once more in there.
        after: the graph after it.
        make: gives a model of either graph, with the values that its layers have.
        inputs: what the model takes; drawn if None.

    Raises:
        EditError: the model does not take the inputs, or none can be drawn.
    """
    before = work.graph
    one, other = (Side(b.model, g, b.layers) for g in (before, after) for b in (make(g),))
    probe = make_probe(one, other, inputs)
    edit.apply(work)
    rows: list[QuantizedLayer] = []
    for entry in edit.entries(Workspace(before)):
        path, now = entry.path, after.by_path[entry.path].layer
        reason = work.report.passed_over.get(before.paths[entry.layer], "")
        sizes = layer_bytes(before, entry.layer), layer_bytes(after, now)
        name = before.layers[entry.layer].cls.__name__
        rows.append(QuantizedLayer(path, name, not reason, reason, *sizes))
    return Quantization(
        edit.mode,
        tuple(rows),
        count_bytes(before),
        count_bytes(after),
        compare_outputs(one, other, probe, probe.refused),
        probe.samples,
    )
