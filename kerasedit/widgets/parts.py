"""Parts of the widget that stand alone, to be put together as one likes."""

from __future__ import annotations

from typing import Any

import keras
import traitlets

from ..editor import Editor
from ..errors import StructureError
from ..weights.looking import weights_named
from .base import Listing, Part
from .changes import cut_label
from .detail import MAX_BINS
from .rows import follow_paths
from .static_html import steps_html, table_html


class _Alone(keras.Model):
    """A layer without its model, as one that an editor takes."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__(name=layer.name)
        self.layer = layer


def editor_of(thing: Any) -> Editor:
    """The editor that a part shows.

    Args:
        thing: an `Editor`; a model or the path of one, of which an editor is made, as of any; or a
            layer that is no model, on which flags and weights then act itself.

    Raises:
        StructureError: the layer is not built.
        EditError: it is none of these.
    """
    if isinstance(thing, Editor):
        return thing
    if not isinstance(thing, keras.Layer) or isinstance(thing, keras.Model):
        return Editor(thing)
    if not thing.built:
        raise StructureError(
            f"The layer '{thing.name}' is not built, so it has no weights yet. Call it on data once, "
            "or call layer.build(input_shape)."
        )
    return Editor(_Alone(thing), in_place=True)


class LayerTable(Listing):
    """The layers of a model, to look at and to choose from.

    Args:
        thing: an `Editor`, a model, the path of one, or a layer; see `editor_of`.
        options: values of traits.

    Attributes:
        editor: what it shows.
        selected: paths of the selected rows; may be set, linked and observed.
        value: the same, by the name that ipywidgets looks for.
        filter: the text of the filter box; may be set, linked and observed.
        height: how high the list may get before it scrolls, in pixels.
    """

    part = traitlets.Unicode("layers").tag(sync=True)
    value = traitlets.List(traitlets.Unicode())

    def __init__(self, thing: Any, **options: Any) -> None:
        if "value" in options:
            options["selected"] = options.pop("value")
        super().__init__(editor_of(thing), **options)
        traitlets.link((self, "selected"), (self, "value"))


class TrainableToggles(Listing):
    """A switch for each layer: whether training changes it.

    A click acts on `editor.model`; of a layer that was given itself, on that.

    Args:
        thing: an `Editor`, a model, the path of one, or a layer; see `editor_of`.
        options: values of traits.

    Attributes:
        editor: what it shows.
        trainable: paths of the layers that train, to be observed; set by clicks and by
            `editor.freeze` and `editor.unfreeze`.
        selected: paths of the selected rows; may be set, linked and observed.
        filter: the text of the filter box; may be set, linked and observed.
        height: how high the list may get before it scrolls, in pixels.
    """

    part = traitlets.Unicode("toggles").tag(sync=True)
    trainable = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)

    def __init__(self, thing: Any, **options: Any) -> None:
        super().__init__(editor_of(thing), **options)

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        trainable = [row["path"] for row in rows if row["trainable"] and row["weights"]]
        return {**super()._state(rows), "trainable": trainable}


class WeightHistograms(Part):
    """How the weights of layers are spread, over how they are in the source.

    Args:
        thing: an `Editor`, a model, the path of one, or a layer; see `editor_of`.
        target: what of it is shown: layers or weights, named as everywhere. None: all.
        options: values of traits.

    Attributes:
        editor: what it shows.
        paths: paths of the layers and weights that are shown, of all where it is empty; may be set,
            linked (to the `selected` of a `LayerTable`) and observed.
        bins: how many bins a histogram has.
        log: whether bars are drawn by the logarithm of their counts.
        height: how high it may get before it scrolls, in pixels.

    Raises:
        TargetError: the target names no layer and no weight.
    """

    part = traitlets.Unicode("histograms").tag(sync=True)
    paths = traitlets.List(traitlets.Unicode()).tag(sync=True)
    bins = traitlets.Int(64, min=1, max=MAX_BINS).tag(sync=True)
    log = traitlets.Bool().tag(sync=True)

    def __init__(self, thing: Any, target: Any = None, **options: Any) -> None:
        editor = editor_of(thing)
        if target is not None:
            options["paths"] = _paths_named(editor, target)
        super().__init__(editor, **options)

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        there = {row["path"] for row in rows}
        paths = follow_paths(self.paths, self.rows, rows)
        if not there.issuperset(paths):
            there.update(weight.path for weight in weights_named(self.editor, None))
        return {**super()._state(rows), "paths": [path for path in paths if path in there]}

    def _static_html(self) -> str:
        chosen = [row for row in self.rows if not self.paths or _is_chosen(row, self.paths)]
        return table_html(self.editor, self.info, [row for row in chosen if row["weights"]])


def _paths_named(editor: Editor, target: Any) -> list[str]:
    """The paths of the layers that a target names, or of single weights of theirs."""
    named: dict[str, list[str]] = {}
    for weight in weights_named(editor, target):
        named.setdefault(weight.path.removesuffix(f"/{weight.name}"), []).append(weight.path)
    whole = {view.path: len(view.weights) for view in editor.layers if view.path in named}
    return [
        path
        for layer, weights in named.items()
        for path in ([layer] if len(weights) == whole[layer] else weights)
    ]


def _is_chosen(row: dict[str, Any], paths: list[str]) -> bool:
    """Whether a row is one of the paths, inside one, or has one of the weights."""
    own = row["path"]
    return any(
        own == path or own.startswith(f"{path}/") or path.startswith(f"{own}/") for path in paths
    )


class EditHistory(Part):
    """The edits so far, each to be undone to, and those that were undone.

    Args:
        thing: an `Editor`; of a model or layer it starts out empty.
        options: values of traits.

    Attributes:
        editor: what it shows.
        done: how many edits hold; to be observed, set by `editor.undo` and all edits.
        undone: how many `editor.redo` would make again; to be observed.
        steps: the edits that hold in words, the latest of them; to be observed.
        height: how high it may get before it scrolls, in pixels.
    """

    LATEST = 100  # steps that are told in words

    part = traitlets.Unicode("history").tag(sync=True)
    done = traitlets.Int(read_only=True).tag(sync=True)
    undone = traitlets.Int(read_only=True).tag(sync=True)
    steps = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)

    def __init__(self, thing: Any, **options: Any) -> None:
        super().__init__(editor_of(thing), **options)

    def _make_rows(self) -> list[dict[str, Any]]:
        return []

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        done, undone = self.editor.steps, self.editor.undone_steps
        return {
            **super()._state(rows),
            "done": len(done),
            "undone": len(undone),
            "steps": [cut_label(step.label) for step in done[-self.LATEST :]],
        }

    def _static_html(self) -> str:
        return steps_html(self.steps, self.done)
