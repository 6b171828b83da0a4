"""The Keras models among the variables of a kernel, for the panel of JupyterLab; see docs/lab.md.

They are only looked at: nothing is built, no value is read, and but for a model that somebody asked
about no code of their classes runs. Importing this imports no Keras.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..names import cut

if TYPE_CHECKING:
    from ..editor import Editor

_MOST = 300  # models that are told of

# The objects of the latest list by their `id`, which another may have later: the numbers tell them
# apart.
_numbers: dict[int, tuple[weakref.ref[Any], int]] = {}
_count = itertools.count(1)

Found = Mapping[str, Any]
Told = dict[str, Any]


# -- questions -----------------------------------------------------------------------------------


def tell_models() -> Told:
    """The models and editors among the user's variables."""
    told = list_models(_namespace())
    return {"models": told[:_MOST], "more": max(0, len(told) - _MOST)}


def tell_model(variable: str, number: int) -> Told:
    """What there is to know of a model at a glance.

    Args:
        variable: its name.
        number: what the list told, by which it is noticed when the variable holds another by now.

    Raises:
        EditError: it does.
    """
    thing = _held(variable, number)
    return _about_editor(thing) if _is_editor(thing) else _about_model(thing)


def hand_back(variable: str, number: int, name: str, overwrite: bool = False) -> Told:
    """Binds the edited copy of an editor, or of the editor of a model, to a variable.

    Args:
        variable: the editor or the model.
        number: what the list told.
        name: the variable that gets the copy.
        overwrite: whether it may hold something by now.

    Returns:
        What the widget's message `hand_back` is answered.

    Raises:
        EditError: the variable holds another by now, or nothing was edited.
    """
    from ..widgets.messages import answer

    thing = _held(variable, number)
    found = _models_in(_namespace())
    editor = thing if _is_editor(thing) else _editor_of(thing, _editors(found))
    if editor is None:
        raise EditError(f"No editor has edits of '{variable}'.")
    message = {"id": "hand_back", "action": "hand_back", "name": name, "overwrite": overwrite}
    reply, _ = answer(editor, "", message)
    tabs = sys.modules.get("kerasedit.lab.tabs")
    if tabs is not None:
        tabs.tell_dirty(editor)
    return reply


# -- finding them --------------------------------------------------------------------------------


def list_models(namespace: Mapping[str, Any]) -> list[Told]:
    """A row per variable that holds a model or an editor, in the order in which they came.

    Each is `{variable, number, kind, class_name, name, params, trainable, compiled, structure, copy,
    edits, unhanded, handed, proposed, same_as}`; see docs/lab.md.
    """
    found = _models_in(namespace)
    editors = _editors(found)
    held = {id(value) for value in found.values()}
    _number(found.values())
    first: dict[int, str] = {}
    rows = []
    for variable, value in found.items():
        same_as = first.setdefault(id(value), variable)
        tell = _editor_row if _is_editor(value) else _model_row
        row = tell(value, editors, found, held)
        row["variable"] = _text(variable)
        row["number"] = _numbers[id(value)][1]
        row["same_as"] = None if same_as == variable else _text(same_as)
        rows.append(row)
    return rows


def _namespace() -> Mapping[str, Any]:
    if _model_class() is None:
        return {}
    from ..handback import user_namespace

    return user_namespace() or {}


def _model_class() -> type | None:
    """`keras.Model`; None where nobody has imported Keras, or something else is called so."""
    cls = vars(sys.modules["keras"]).get("Model") if "keras" in sys.modules else None
    return cls if isinstance(cls, type) else None


def _editor_class() -> type | None:
    module = sys.modules.get("kerasedit.editor")
    return None if module is None else vars(module).get("Editor")


def _models_in(namespace: Mapping[str, Any]) -> Found:
    classes = [cls for cls in (_model_class(), _editor_class()) if cls is not None]
    return {
        name: value
        for name, value in dict(namespace).items()
        if type(name) is str
        and name.isidentifier()
        and not name.startswith("_")
        and any(_is_a(value, cls) for cls in classes)
    }


def _is_a(value: Any, cls: type) -> bool:
    """`isinstance` would ask the object too, and a proxy would load what it stands for."""
    return type.__subclasscheck__(cls, type(value))


def _is_editor(value: Any) -> bool:
    cls = _editor_class()
    return cls is not None and _is_a(value, cls)


def _number(values: Iterable[Any]) -> None:
    global _numbers
    found = {}
    for value in values:
        known = _numbers.get(id(value))
        same = known is not None and known[0]() is value
        found[id(value)] = known if same else (weakref.ref(value), next(_count))
    _numbers = found


def _held(variable: str, number: int) -> Any:
    """What a variable holds.

    Raises:
        EditError: it is no longer what the list told of.
    """
    value = _models_in(_namespace()).get(variable)
    known = _numbers.get(id(value))
    if value is None or known is None or known[0]() is not value or known[1] != number:
        raise EditError(f"The variable '{cut(variable)}' holds something else by now.")
    return value


# -- editors -------------------------------------------------------------------------------------


def _editors(found: Found) -> list[Editor]:
    """The editors that are variables, or are shown by a widget in a cell or a tab."""
    widgets = sys.modules.get("kerasedit.widgets.base")
    shown = widgets.shown_editors() if widgets is not None else ()
    every = [*filter(_is_editor, found.values()), *shown]
    return list({id(editor): editor for editor in every}.values())


def _editor_of(model: Any, editors: Iterable[Editor]) -> Editor | None:
    """The editor that has edits of a model, or that made it; of several the one with most edits."""
    own = [ed for ed in editors if ed.history and (ed.source is model or ed.made is model)]
    return max(own, key=lambda ed: len(ed.history), default=None)


# -- rows ----------------------------------------------------------------------------------------


def _model_row(model: Any, editors: list[Editor], found: Found, held: set[int]) -> Told:
    from .. import _keras
    from ..handback import proposed_variable
    from .variables import edits_in_none

    own = _keras.own_attributes(model)
    try:
        structure = _structure(own)
        params, trainable = (None, None) if structure == "unbuilt" else _counted(model)
    except Exception:  # one that is not whole, as when its constructor failed
        structure, params, trainable = "unbuilt", None, None
    # An editor that is a variable has a row of its own.
    elsewhere = (ed for ed in editors if ed.source is model and id(ed) not in held)
    editor = _editor_of(model, editors)
    return {
        "kind": "model",
        "class_name": _text(type(model).__name__),
        "name": _text(own.get("name")),
        "params": params,
        "trainable": trainable,
        "compiled": own.get("compiled") is True,
        "structure": structure,
        "copy": _keras.is_copy(model)
        and not any(ed.made is model and not ed.history for ed in editors),
        "edits": 0,
        "unhanded": max((edits_in_none(ed, held) for ed in elsewhere), default=0),
        "handed": None,
        "proposed": None if editor is None else proposed_variable(editor, found),
    }


def _editor_row(editor: Editor, _: list[Editor], found: Found, held: set[int]) -> Told:
    from .. import _keras
    from ..handback import proposed_variable
    from .variables import edits_in_none

    graph, made = editor.graph, editor.made
    params, trainable = _totals(editor)
    handed = next((name for name, value in found.items() if value is made), None)
    return {
        "kind": "editor",
        "class_name": _text(graph.layers[graph.root].cls.__name__),
        "name": _text(graph.layers[graph.root].name),
        "params": params,
        "trainable": trainable,
        "compiled": _keras.own_attributes(made or editor.source).get("compiled") is True,
        "structure": "code" if graph.net.opaque or editor.in_place else "graph",
        "copy": False,
        "edits": len(editor.history),
        "unhanded": edits_in_none(editor, held),
        "handed": None if handed is None else _text(handed),
        "proposed": proposed_variable(editor, found),
    }


def _structure(own: Mapping[str, Any]) -> str:
    """Whether the structure can be edited: `"graph"`; `"code"`: only flags and weights; `"unbuilt"`."""
    if "_nodes_by_depth" in own or own.get("_functional") is not None:
        return "graph"
    return "code" if own.get("built") is True and "_functional" not in own else "unbuilt"


def _counted(model: Any) -> tuple[int, int]:
    from .. import _keras

    total = trained = 0
    for size, _, trains in _keras.sizes(model):
        total += size
        trained += size if trains else 0
    return total, trained


# Of each editor the totals at its latest revision.
_known: weakref.WeakKeyDictionary[Any, tuple[int, tuple[int, int]]] = weakref.WeakKeyDictionary()


def _totals(editor: Editor) -> tuple[int, int]:
    from ..views import count_params, count_trainable

    revision, totals = _known.get(editor, (-1, (0, 0)))
    if revision != editor.revision:
        revision, graph = editor.revision, editor.graph
        totals = count_params(graph, graph.root), count_trainable(graph)
        _known[editor] = revision, totals
    return totals


# -- at a glance ---------------------------------------------------------------------------------


def _about_model(model: Any) -> Told:
    from .. import _keras
    from ..views import bytes_of

    graph = _or_none(lambda: _keras.functional_of(model))

    def tensors(found: list[Any]) -> list[list[str]]:
        return [[_text(_keras.producer(t)), str(tuple(t.shape)), str(t.dtype)] for t in found]

    def layers() -> list[list[Any]]:
        return _by_class(type(layer) for layer in _keras.all_layers(model)[1:])

    return {
        "inputs": _or_none(lambda: tensors(graph.inputs)) or [],
        "outputs": _or_none(lambda: tensors(graph.outputs)) or [],
        "layers": _or_none(layers) or [],
        "bytes": _or_none(lambda: sum(bytes_of(d, size) for size, d, _ in _keras.sizes(model))),
        **_trained_with(model),
    }


def _about_editor(editor: Editor) -> Told:
    from ..views import count_bytes

    graph = editor.graph
    net = graph.net

    def tensors(refs: Iterable[Any]) -> list[list[str]]:
        told = [(graph.layers[net.by_id[ref.call].layer].name, net.spec(ref)) for ref in refs]
        return [[name, str(spec.shape), str(spec.dtype)] for name, spec in told]

    return {
        "inputs": [] if net.opaque else tensors(net.input_refs),
        "outputs": [] if net.opaque else tensors(net.output_refs),
        "layers": _by_class(graph.layers[layer].cls for layer in graph.paths),
        "bytes": count_bytes(graph),
        **_trained_with(editor.made or editor.source),
    }


def _by_class(classes: Iterable[type]) -> list[list[Any]]:
    """How many layers there are of each class, models and inputs apart."""
    import keras

    inner = (keras.Model, keras.layers.InputLayer)
    counted = Counter(_text(cls.__name__) for cls in classes if not issubclass(cls, inner))
    return [list(pair) for pair in counted.most_common()]


def _trained_with(model: Any) -> Told:
    import keras

    optimizer = _or_none(lambda: model.optimizer)
    rate = _or_none(lambda: float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return {
        "dtype": _text(_or_none(lambda: model.dtype_policy.name)),
        "optimizer": None if optimizer is None else _text(type(optimizer).__name__),
        "learning_rate": rate,
        "loss": _or_none(lambda: _named(model.loss)),
    }


def _named(loss: Any) -> str | None:
    """What a loss is called, however it was given to `compile`."""
    if isinstance(loss, Mapping):
        loss = list(loss.values())
    if isinstance(loss, (list, tuple)):
        return ", ".join(dict.fromkeys(name for part in loss if (name := _named(part)))) or None
    if loss is None or isinstance(loss, str):
        return None if loss is None else _text(loss)
    return _text(getattr(loss, "name", None) or getattr(loss, "__name__", type(loss).__name__))


def _or_none(look: Callable[[], Any]) -> Any:
    """What there is to see; a model of a class of its own may have anything in its place."""
    try:
        return look()
    except Exception:
        return None


def _text(value: Any) -> str:
    """A text that can be sent, whatever it is."""
    return cut(value).encode(errors="replace").decode() if type(value) is str else ""
