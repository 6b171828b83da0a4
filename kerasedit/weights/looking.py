"""Histograms and figures of an editor's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from .. import _keras
from ..errors import TargetError
from ..graph.model_graph import Entry, Origin
from ..targets import select_weights
from ..views import LayerView, WeightView
from .histogram import Histogram, histogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..editor import Editor


def weights_named(editor: Editor, target: Any) -> list[WeightView]:
    """The weights that a target names: of layers, or a single one as `"dense/kernel"`.

    Raises:
        TargetError: it names neither a layer nor a weight.
    """
    views = {view.path: view for view in editor.layers}
    if target is None:
        return [weight for view in views.values() for weight in view.weights]
    found = select_weights(editor.graph, editor.target_data(target))
    weights = {
        path: {w.index: w for w in views[path].weights} for path in {e.path for e, _ in found}
    }
    return [weights[entry.path][index] for entry, index in found]


def weights_at(editor: Editor, path: str) -> list[WeightView]:
    """The weights of the layer at a path, or of all inside the model there."""
    graph = editor.graph
    entries = [graph.by_path[path]]
    if graph.layers[entries[0].layer].net is not None:
        entries += [entry for entry in graph.entries if entry.path.startswith(f"{path}/")]
    return [weight for entry in entries for weight in LayerView(editor, graph, entry).weights]


def histogram_of(editor: Editor, target: Any, bins: int) -> Histogram:
    """The histogram of the one weight that a target names."""
    named = weights_named(editor, target)
    if len(named) != 1:
        names = ", ".join(weight.path for weight in named) or "none"
        raise TargetError(f"One weight is needed, as in 'dense/kernel'; {target!r} names {names}.")
    return histogram(named[0].numpy(), bins)


def histograms_of(editor: Editor, target: Any, bins: int) -> dict[str, Histogram]:
    """A histogram per weight that a target names."""
    return {w.path: histogram(w.numpy(), bins) for w in weights_named(editor, target)}


def stats_of(editor: Editor, target: Any) -> list[dict[str, Any]]:
    """A row of figures per weight that a target names."""
    rows = []
    for weight in weights_named(editor, target):
        values = weight.numpy()
        found = histogram(values, 1)
        rows.append(
            {
                "path": weight.path,
                "shape": weight.shape,
                "dtype": weight.dtype,
                "bytes": values.nbytes,
                "trainable": weight.trainable,
                "size": found.size,
                "min": found.min,
                "max": found.max,
                "mean": found.mean,
                "std": found.std,
                "zeros": found.zeros,
                "nans": found.nans,
                "infs": found.infs,
            }
        )
    return rows


def plot_of(editor: Editor, target: Any, compare: bool) -> Figure:
    """The histograms of the weights that a target names, over those of the source.

    Both are drawn on the same bins, so that bars can be compared.
    """
    from ..plotting import plot_histograms

    before = source_values(editor) if compare else {}
    panels: dict[str, tuple[Histogram | None, Histogram | None]] = {}
    for weight in weights_named(editor, target):
        new = weight.numpy()
        old = before.get(weight.path)
        if old is None:
            panels[weight.path] = (None, histogram(new))
            continue
        first, second = histogram(old), histogram(new)
        low, high = min(first.min, second.min), max(first.max, second.max)
        if low < high:
            first, second = histogram(old, 64, (low, high)), histogram(new, 64, (low, high))
        panels[weight.path] = (first, second)
    return plot_histograms(panels)


def source_values(editor: Editor) -> dict[str, Any]:
    """The source's weights by the path that each has in the edited model."""
    return {
        f"{entry.path}/{name}": keras.ops.convert_to_numpy(variable)
        for entry in editor.graph.entries
        if editor.graph.layers[entry.layer].net is None
        for name, variable in source_variables(editor, entry).items()
    }


def source_variables(editor: Editor, entry: Entry) -> dict[str, Any]:
    """The variables of the source that a layer's own come from, by the names that these have.

    A layer that was given other shapes, or put in for another, may have inherited some.
    """
    layer = editor.source_layer(entry.layer)
    if layer is not None:
        return {name: variable for name, variable, _ in _keras.named_variables(layer)}
    spec, found = editor.graph.layers[entry.layer], {}
    for index, origin in spec.origins.items():
        variable = _inherited(editor, origin)
        if variable is not None and spec.variables is not None:
            name = spec.variables[index].name
            if not origin.also or variable.name == name:  # a bias may be reckoned from a kernel
                found[name] = variable
    return found


def _inherited(editor: Editor, origin: Origin | None) -> Any | None:
    """The source's variable at the end of a line of origins."""
    while origin is not None:
        layer = editor.source_layer(origin.layer)
        if layer is not None:
            return _keras.named_variables(layer)[origin.index][1]
        spec = editor.graph.layers.get(origin.layer)
        origin = spec.origins.get(origin.index) if spec is not None else None
    return None
