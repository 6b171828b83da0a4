"""What the widget shows of the weights of one layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..arrays import same_bits
from ..errors import EditError, TargetError
from ..views import LayerView, WeightView
from ..weights.extremes import Extremes, extremes
from ..weights.histogram import histogram
from ..weights.idle import idle_channels
from ..weights.looking import source_variables
from ..weights.telling import ends_data, figures_data, is_numeric

if TYPE_CHECKING:
    from ..editor import Editor

MAX_PATHS = 512  # of one message
# More are not told one by one.
MAX_WEIGHTS = 64
MAX_BINS = 256

Reply = tuple[dict[str, Any], list[bytes]]


def asked_path(editor: Editor, message: Mapping[str, Any]) -> str:
    """The layer that a message is about.

    Raises:
        TargetError: there is none at the path.
        EditError: it is no path.
    """
    path = message.get("path")
    if not isinstance(path, str):
        raise EditError("'path' must be the path of a layer.")
    if path not in editor.graph.by_path:
        raise TargetError(f"There is no layer {path!r:.200} any more.")
    return path


def asked_paths(message: Mapping[str, Any]) -> list[str]:
    """The layers that a message is about.

    Raises:
        EditError: it is no list of paths, or too many.
    """
    paths = message.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise EditError("'paths' must be a list of paths.")
    if len(paths) > MAX_PATHS:
        raise EditError(f"At most {MAX_PATHS} paths are taken at once.")
    return paths


def tell_detail(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The weights of a layer one by one, each beside what it was in the source."""
    bins = message.get("bins", 64)
    if not isinstance(bins, int) or isinstance(bins, bool) or not 1 <= bins <= MAX_BINS:
        raise EditError(f"'bins' must be a whole number from 1 to {MAX_BINS}.")
    with editor.lock:
        path, revision = asked_path(editor, message), editor.revision
        entry = editor.graph.by_path[path]
        cls = editor.graph.layers[entry.layer].cls
        weights = LayerView(editor, editor.graph, entry).weights
        source = None if editor.in_place else source_variables(editor, entry)
        # Copies, so that the rest is done while others may edit.
        trains = [weight.trainable for weight in weights[:MAX_WEIGHTS]]
        values = [weight.numpy() for weight in weights[:MAX_WEIGHTS]]
        before = [_before(source, weight) for weight in weights[:MAX_WEIGHTS]]
    found = [
        _weight(cls, weight, trained, new, old, bins)
        for weight, trained, new, old in zip(weights, trains, values, before, strict=False)
    ]
    reply = {
        "path": path,
        "revision": revision,
        "bins": bins,
        "compared": source is not None,
        "weights": [told for told, _ in found],
        "more": max(0, len(weights) - MAX_WEIGHTS),
    }
    return reply, [b"".join(counts for _, counts in found)]


def _before(source: Mapping[str, Any] | None, weight: WeightView) -> np.ndarray | None:
    variable = (source or {}).get(weight.name)
    return None if variable is None else keras.ops.convert_to_numpy(variable)


def _weight(
    cls: type,
    weight: WeightView,
    trainable: bool,
    new: np.ndarray,
    old: np.ndarray | None,
    bins: int,
) -> tuple[dict[str, Any], bytes]:
    """A weight as JSON, and the counts of its histogram and, where that differs, the source's."""
    same = old is not None and same_bits(new, old)
    told: dict[str, Any] = {
        "path": weight.path,
        "name": weight.name,
        "shape": list(weight.shape),
        "dtype": weight.dtype,
        "trainable": trainable,
        "bytes": new.nbytes,
        "source": "none" if old is None else "same" if same else "other",
        "figures": None,
        "before": None,
    }
    if not is_numeric(new):
        return told, b""
    ends = extremes(new)
    told |= {**ends_data(ends), "notes": idle_channels(cls, weight.name, new)}
    if old is None or same or not is_numeric(old):
        drawn = [histogram(new, bins)]
    else:
        limits = _limits(ends, extremes(old), bins)
        drawn = [histogram(new, bins, limits), histogram(old, bins, limits)]
        told["before"] = {**figures_data(drawn[1]), "shape": list(old.shape)}
    told |= {"figures": figures_data(drawn[0]), "edges": drawn[0].edges[[0, -1]].tolist()}
    return told, np.concatenate([h.counts for h in drawn]).astype("<f4").tobytes()


def _limits(a: Extremes, b: Extremes, bins: int) -> tuple[float, float] | None:
    """From the smallest to the largest value of either, with room for so many bins."""
    values = [found.value for ends in (a, b) for found in (*ends.smallest, *ends.largest)]
    if not values:
        return None
    low, high = min(values), max(values)
    room = 2 * bins * float(np.spacing(max(abs(low), abs(high))))
    return (low - room, high + room) if 0 < high - low < room else (low, high)
