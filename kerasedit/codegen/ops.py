"""Python code for calls of raw ops: `x + y`, `t[:, 0]`, `ops.relu(x)`.

What is written gives the very op when it is run: it was run here, on symbolic tensors.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras

from .. import _keras
from ..errors import StructureError
from ..graph.model_graph import Call, LayerSpec
from ..names import snake_case
from .literals import Code, construct, deserialized, nested, unnoticed
from .script import Script, Unwritable

Give = Callable[[Any], Code]
"""The code of a leaf of a call's arguments, with the symbolic tensor or value that it stands for."""

_BINARY: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "Add": ("+", operator.add),
    "Subtract": ("-", operator.sub),
    "Multiply": ("*", operator.mul),
    "TrueDivide": ("/", operator.truediv),
    "Divide": ("/", operator.truediv),
    "FloorDivide": ("//", operator.floordiv),
    "Mod": ("%", operator.mod),
    "Power": ("**", operator.pow),
    "Matmul": ("@", operator.matmul),
    "Less": ("<", operator.lt),
    "LessEqual": ("<=", operator.le),
    "Greater": (">", operator.gt),
    "GreaterEqual": (">=", operator.ge),
    "NotEqual": ("!=", operator.ne),
    "LogicalAnd": ("&", operator.and_),
    "LogicalOr": ("|", operator.or_),
    "LogicalXor": ("^", operator.xor),
}
_UNARY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "Negative": ("-", operator.neg),
    "LogicalNot": ("~", operator.invert),
}


def op_code(spec: LayerSpec, call: Call, give: Give, script: Script) -> tuple[str, bool]:
    """Code for a call of a raw op, and whether the op has its own name then.

    Args:
        spec: the op.
        call: the call.
        give: the code of what the call takes, with symbolic tensors of these shapes.
        script: what the code is for.

    Raises:
        StructureError: the op cannot be made again from what it tells of itself.
    """
    args = [nested(value, give) for value in call.args]
    kwargs = {name: nested(value, give) for name, value in call.kwargs.items()}
    given = [a.value for a in args], {name: code.value for name, code in kwargs.items()}
    for text, run in _forms(spec.prototype, call, args, kwargs, give):
        if _gives(run, spec.prototype, *given):
            if text.startswith("ops."):
                script.use("ops")
            return text, False
    shown = ", ".join([a.text for a in args] + [f"{k}={c.text}" for k, c in kwargs.items()])
    return f"{_op(spec, script)}({shown})", True


def _gives(run: Callable[[], Any], op: Any, args: Any, kwargs: Any) -> bool:
    """Whether code makes the op that is wanted."""
    try:
        with unnoticed():
            made = keras.tree.flatten(run())[0]
    except Exception:  # the code is a guess, and may be wrong in any way
        return False
    return isinstance(made, keras.KerasTensor) and _keras.made_as(made, op, args, kwargs)


Form = tuple[str, Callable[[], Any]]


def _forms(
    op: Any, call: Call, args: list[Code], kwargs: dict[str, Code], give: Give
) -> Iterator[Form]:
    """Code that may make an op, and what it does; the shortest first."""
    name = type(op).__name__
    values = [a.value for a in args]
    if not kwargs and len(args) == 2 and name in _BINARY:
        sign, do = _BINARY[name]
        left, right = (f"({a.text})" if a.text.startswith("-") else a.text for a in args)
        yield f"{left} {sign} {right}", lambda: do(*values)
    if not kwargs and len(args) == 1 and name in _UNARY:
        sign, change = _UNARY[name]
        yield f"{sign}{args[0].text}", lambda: change(*values)
    if not kwargs and len(args) == 2 and name == "GetItem":
        yield f"{args[0].text}[{_subscript(call.args[1], give)}]", lambda: values[0][values[1]]
    snake = snake_case(name)
    for path, module in (("ops", keras.ops), ("ops.image", keras.ops.image)):
        for candidate in dict.fromkeys((snake, snake.replace("_", ""))):
            function = getattr(module, candidate, None)
            bound = _bound(function, op, args, kwargs, give) if function is not None else None
            if function is not None and bound is not None:
                first, others = bound
                shown = [code.text for code in first]
                shown += [f"{key}={code.text}" for key, code in others.items()]
                taken = [code.value for code in first], {k: c.value for k, c in others.items()}
                yield (
                    f"{path}.{candidate}({', '.join(shown)})",
                    partial(function, *taken[0], **taken[1]),
                )


def _subscript(key: Any, give: Give) -> str:
    """What stands in the brackets of `x[:, 0]`."""

    def part(value: Any) -> str:
        if not isinstance(value, slice):
            return nested(value, give).text
        ends = [value.start, value.stop, *([] if value.step is None else [value.step])]
        return ":".join("" if end is None else give(end).text for end in ends)

    if not isinstance(key, tuple) or not key:
        return part(key)
    return ", ".join(map(part, key)) + ("," if len(key) == 1 else "")


def _bound(
    function: Callable[..., Any], op: Any, args: list[Code], kwargs: dict[str, Code], give: Give
) -> tuple[list[Code], dict[str, Code]] | None:
    """The arguments for a function that makes an op: what the op takes, and what it was made with."""
    rest, named = list(args), dict(kwargs)
    first: list[Code] = []
    others: dict[str, Code] = {}
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        key, demanded = parameter.name, parameter.default is parameter.empty
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            first, rest = [*first, *rest], []
            continue
        if key in named:
            code = named.pop(key)
        elif key in vars(op):
            if not demanded and _usual(vars(op)[key], parameter.default):
                continue
            try:
                code = nested(vars(op)[key], give)
            except Unwritable:
                return None
        elif rest:
            code, demanded = rest.pop(0), True
        elif demanded:
            return None
        else:
            continue
        if len(first) == place and demanded and parameter.kind is not parameter.KEYWORD_ONLY:
            first.append(code)
        else:
            others[key] = code
    return None if rest or named else (first, others)


def _usual(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default


def _op(spec: LayerSpec, script: Script) -> str:
    """Code for an op itself, under its name."""
    op = spec.prototype
    try:
        with keras.saving.custom_object_scope(dict(script.given)), unnoticed():
            data = keras.saving.serialize_keras_object(op)
            config = {**data["config"], "name": spec.name} if "name" in data["config"] else {}
            data = {**data, "config": config or data["config"]}
            ours = type(op).__module__.startswith("keras.")
            made = None if ours else construct(op, data["config"], script)
            if made is not None and _keras.same_op(made.value, op):
                return made.text
            if _keras.same_op(keras.saving.deserialize_keras_object(data), op):
                return deserialized(data, script)
    except Exception as problem:
        raise _unknown(spec) from problem
    raise _unknown(spec)


def _unknown(spec: LayerSpec) -> StructureError:
    return StructureError(
        f"The op '{spec.name}' ({spec.cls.__name__}) cannot be written as code: it does not tell all "
        "that it was made with. Put a layer in its place, or give its class a get_config()."
    )
