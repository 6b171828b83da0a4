"""A script in the making: its imports, helpers, functions, and the arrays that it needs."""

from __future__ import annotations

import base64
import builtins
import hashlib
import io
import keyword
import re
import sys
import zlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import keras
import numpy as np

from ..arrays import write_npz
from ..errors import EditError
from .layout import docstring, lay_out, text

MAX_INLINE = 64 << 20  # bytes of arrays that a text may hold

# Where Keras's own classes and functions are found under names that stay.
_PUBLIC = {
    "layers": keras.layers,
    "ops": keras.ops,
    "keras.activations": keras.activations,
    "keras.initializers": keras.initializers,
    "keras.regularizers": keras.regularizers,
    "keras.constraints": keras.constraints,
    "keras.dtype_policies": keras.dtype_policies,
    "keras.quantizers": keras.quantizers,
    "keras.random": keras.random,
    "keras": keras,
}

_RESERVED = {
    *keyword.kwlist,
    *dir(builtins),
    *"IOl",  # which are hard to tell from figures
    "arrays",
    "assign",
    "base64",
    "build",
    "copy_assets",
    "custom_objects",
    "find",
    "io",
    "keras",
    "kerasedit",
    "layers",
    "load_assets",
    "model",
    "np",
    "ops",
    "path",
    "source",
    "sys",
    "tempfile",
    "zlib",
    "Path",
}


class Unwritable(Exception):
    """No Python code stands for something; the message says for what."""


def identifier(hint: str, taken: Container[str]) -> str:
    """A Python name made of a text, not among those taken."""
    stem = re.sub(r"[^0-9A-Za-z_]+", "_", hint)[:40].strip("_") or "x"
    stem = f"_{stem}" if stem[0].isdigit() else stem
    name, number = stem, 1
    while name in taken or name in _RESERVED:
        name, number = f"{stem}_{number}", number + 1
    return name


@dataclass
class Function:
    """A function of the script: statements as (indent, code), before they are laid out."""

    name: str
    parameters: list[str]
    about: str
    body: list[tuple[int, str]] = field(default_factory=list)

    def add(self, statement: str, indent: int = 0) -> None:
        self.body.append((indent, statement))

    def lines(self) -> list[str]:
        head = f"def {self.name}({', '.join(self.parameters)}):"
        about = docstring(self.about).split("\n")
        found = [*lay_out(head), *(f"    {line}" if line else "" for line in about)]
        for indent, statement in self.body:
            found += lay_out(statement, 4 + 4 * indent) if statement else [""]
        return found


class Script:
    """Collects what a script is made of.

    Args:
        given: the classes and functions that the editor was given for the model's layers.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.taken: set[str] = set()  # names at the top of the script
        self.functions: list[Function] = []
        self.custom: dict[str, Any] = {}  # what only who runs the script can give
        self.arrays: dict[str, np.ndarray] = {}
        self.held: Mapping[tuple[str, str], str] = {}  # layers given to the one being written
        self._modules: set[str] = set()
        self._imports: dict[int, tuple[str, str, str]] = {}  # id of what: module, name, name here

    # -- names -----------------------------------------------------------------------------------

    def use(self, *modules: str) -> None:
        """Notes that the script needs `keras`, `layers`, `ops`, `np` or `kerasedit`."""
        self._modules.update(modules)

    def name(self, hint: str) -> str:
        """A free name at the top of the script."""
        found = identifier(hint, self.taken)
        self.taken.add(found)
        return found

    def reference(self, thing: Any) -> str:
        """Code for a class or function: imported where that can be, else one of `custom_objects`.

        Raises:
            Unwritable: it is a lambda, or has no name.
        """
        public = _public_path(thing)
        if public is not None:
            self.use(public.split(".")[0])
            return public
        if is_importable(thing):
            return self._imported(thing)
        known = (name for name, item in self.given.items() if item is thing)
        name = next(known, getattr(thing, "__name__", ""))
        if not name.isidentifier():
            raise Unwritable(f"{name or type(thing).__name__!r} is Python code without a name")
        return self._custom(thing, name)

    def _imported(self, thing: Any) -> str:
        module = thing.__module__
        top, *rest = thing.__qualname__.split(".")
        outer = getattr(sys.modules[module], top)
        if id(outer) not in self._imports:
            self._imports[id(outer)] = module, top, self.name(top)
        return ".".join([self._imports[id(outer)][2], *rest])

    def _custom(self, thing: Any, name: str) -> str:
        key, number = name, 2
        while self.custom.setdefault(key, thing) is not thing:
            key, number = f"{name}_{number}", number + 1
        return f"custom_objects[{text(key)}]"

    # -- arrays ----------------------------------------------------------------------------------

    def store(self, hint: str, array: np.ndarray) -> str:
        """Code for an array that comes with the script."""
        plain = "/".join(re.sub(r"\W", "_", part, flags=re.ASCII) for part in hint.split("/"))
        key, number = plain, 1
        while key in self.arrays:
            key, number = f"{plain}_{number}", number + 1
        self.arrays[key] = array if array.dtype.isbuiltin == 1 else array.astype("float32")
        return f"arrays[{text(key)}]"

    def values(self, hint: str, array: np.ndarray) -> str:
        """Code for the values of a variable: a list where they are few, else an array of `store`."""
        return few(array) or self.store(hint, array)

    def array(self, hint: str, array: np.ndarray) -> str:
        """Code for an array of the same dtype."""
        shown = few(array)
        if shown is None:
            return self.store(hint, array)
        self.use("np")
        return f"np.array({shown}, dtype={text(array.dtype.name)})"

    # -- the whole -------------------------------------------------------------------------------

    def add(self, build: Function) -> None:
        """Adds the function that who uses the script calls."""
        if self.custom:
            build.parameters.append("custom_objects=None")
            build.body.insert(0, (0, "custom_objects = {**globals(), **(custom_objects or {})}"))
        self.functions.append(build)

    def whole(self, about: Iterable[str], beside: bool) -> str:
        """The text of the script.

        Args:
            about: the paragraphs of its docstring.
            beside: whether the arrays are in a file of the same name beside it, `npz`.

        Raises:
            EditError: they are too large to stand in the text.
        """
        parts = [docstring(*about, *self._of_custom())]
        functions = "\n\n\n".join("\n".join(f.lines()) for f in self._in_order())
        loaded = bool(self.arrays)
        arrays = (self._from_file() if beside else self._inline()) if loaded else ""
        parts.append(self._import_lines(functions, beside and loaded, loaded and not beside))
        if beside and loaded:
            parts.append(arrays)
        parts.append("\n" + functions)
        if loaded and not beside:
            parts.append("\n" + arrays)
        if not self.custom:
            parts.append("\n" + "\n".join(_MAIN))
        return "\n\n".join(parts) + "\n"

    def _of_custom(self) -> list[str]:
        if not self.custom:
            return []
        lines = [
            f"    {key}: {getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', key)}"
            for key, thing in self.custom.items()
        ]
        told = (
            "No module has these, so give them in `custom_objects`, or define them in this file:\n"
        )
        return [told + "\n".join(lines)]

    def _in_order(self) -> list[Function]:
        """The helpers that are used, then the others in the order in which they were added."""
        used = "\n".join(s for f in self.functions for _, s in f.body)
        helpers = [f for f in _HELPERS if re.search(rf"\b{f.name}\(", used)]
        return [*helpers, *self.functions]

    def _import_lines(self, functions: str, file: bool, inline: bool) -> str:
        own = ["import sys"] if not self.custom or "sys." in functions else []
        own += ["import base64", "import io", "import zlib"] if inline else []
        own += ["import tempfile"] if "tempfile." in functions else []
        own += ["from pathlib import Path"] if file or "Path(" in functions else []
        uses = self._modules | ({"np"} if self.arrays else set())
        others = ["import kerasedit"] if "kerasedit" in uses else []
        others += ["import keras"] if "keras." in functions or not self.custom else []
        others += ["import numpy as np"] if "np" in uses else []
        some = ", ".join(name for name in ("layers", "ops") if name in uses)
        others += [f"from keras import {some}"] if some else []
        theirs: dict[str, list[str]] = {}
        for module, name, here in self._imports.values():
            shown = name if here == name else f"{name} as {here}"
            theirs.setdefault(module, []).append(shown)
        others += [f"from {m} import {', '.join(sorted(n))}" for m, n in sorted(theirs.items())]
        return "\n\n".join("\n".join(lines) for lines in (_sorted(own), _sorted(others)) if lines)

    def _from_file(self) -> str:
        return (
            'arrays = np.load(Path(__file__).with_suffix(".npz"), allow_pickle=False)\n'
            f"if {text(self._mark())} not in arrays:\n"
            '    raise ValueError(f"The .npz file beside {__file__} is that of another script.")'
        )

    def _mark(self) -> str:
        """A key that the file of these very arrays has."""
        digest = hashlib.sha256()
        for key, array in sorted(self.arrays.items()):
            digest.update(f"{key} {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return f"script_{digest.hexdigest()[:16]}"

    def _inline(self) -> str:
        size = sum(array.nbytes for array in self.arrays.values())
        if size > MAX_INLINE:
            raise EditError(
                f"The script needs {size >> 20} MiB of arrays that the source does not have, too much "
                'for a text. Pass path="edited.py": they are written to a file beside it.'
            )
        stream = io.BytesIO()
        write_npz(stream, self.arrays)
        code = base64.b64encode(zlib.compress(stream.getvalue())).decode("ascii")
        lines = "\n".join(code[i : i + 96] for i in range(0, len(code), 96))
        return (
            "# What the source does not have: an .npz file of NumPy, compressed, in base64.\n"
            f'_NPZ = """\n{lines}\n"""\n'
            "_npz = io.BytesIO(zlib.decompress(base64.b64decode(_NPZ)))\n"
            "arrays = np.load(_npz, allow_pickle=False)"
        )

    def npz(self, stream: IO[bytes]) -> None:
        """Writes the file of the arrays."""
        write_npz(stream, {**self.arrays, self._mark(): np.zeros(0, np.uint8)})


def _sorted(lines: list[str]) -> list[str]:
    """Imports in the usual order: whole modules first."""
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def _public_path(thing: Any) -> str | None:
    """Where Keras or NumPy has a class or function; not always under the name that it gave it."""
    own = getattr(thing, "__name__", "")
    for path, module in (*_PUBLIC.items(), ("np", np)):
        if getattr(module, own, None) is thing:
            return f"{path}.{own}"
    if not str(getattr(thing, "__module__", "")).startswith("keras."):
        return None
    places = ((path, *pair) for path, module in _PUBLIC.items() for pair in vars(module).items())
    return next((f"{path}.{name}" for path, name, item in places if item is thing), None)


def is_importable(thing: Any) -> bool:
    """Whether a script can import a class or function."""
    module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    own = module not in (None, "__main__") and found_in(module, qualname) is thing
    return own or _public_path(thing) is not None


def found_in(module: Any, qualname: Any) -> Any:
    """What a module that is loaded has under a name; None where it has nothing."""
    found: Any = sys.modules.get(module)
    for name in str(qualname).split("."):
        found = getattr(found, name, None)
    return found


def few(array: np.ndarray) -> str | None:
    """The values of an array as nested lists, to the bit; None where that takes many numbers."""
    first = array[:1].tobytes() if array.ndim == 1 and array.size > 3 else b""
    alike = bool(first) and array.tobytes() == first * array.size
    if (
        (array.size > 8 and not alike)
        or array.dtype.kind not in "biuf"
        or array.dtype.isbuiltin != 1
    ):
        return None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return None

    def number(value: Any) -> str:
        if array.dtype.kind != "f":
            return repr(value.item())
        short = str(value)  # what tells it from its neighbours in its own dtype
        exact = array.dtype.type(float(short)) == value
        return repr(float(short)) if exact else repr(value.item())

    def nested(part: Any) -> str:
        if part.ndim == 0:
            return number(part[()])
        return f"[{', '.join(nested(item) for item in part)}]"

    return f"[{number(array[0])}] * {array.size}" if alike else nested(array)


def _helper(name: str, parameters: list[str], about: str, code: str) -> Function:
    body = [((len(line) - len(line.lstrip())) // 4, line.lstrip()) for line in code.splitlines()]
    return Function(name, parameters, about, body)


_HELPERS = [
    _helper(
        "find",
        ["model", "path"],
        "The layer at a path: the names of the models around it, then its own.",
        'for name in path.split("/"):\n    model = model.get_layer(name)\nreturn model',
    ),
    _helper(
        "assign",
        ["layer", "values"],
        "Gives the variables of a layer copies of values, in order; None leaves one as it is.",
        # On JAX `assign` makes no copy, and training takes over the arrays that a model holds.
        "for variable, value in zip(layer.variables, values, strict=True):\n"
        "    if isinstance(value, keras.Variable):\n"
        "        value = keras.ops.copy(value)\n"
        "    if value is not None:\n"
        "        variable.assign(value)\n"
        'if hasattr(layer, "finalize_state"):\n'
        "    layer.finalize_state()",
    ),
    _helper(
        "copy_assets",
        ["layer", "other"],
        "Gives a layer the vocabulary of another.",
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    other.save_assets(folder)\n"
        "    layer.load_assets(folder)",
    ),
    _helper(
        "load_assets",
        ["layer", "files"],
        "Gives a layer the vocabulary in files: their bytes by their names.",
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    for name, content in files.items():\n"
        "        Path(folder, name).write_bytes(content.tobytes())\n"
        "    layer.load_assets(folder)",
    ),
]

_MAIN = [
    'if __name__ == "__main__" and "__file__" in globals():  # python this_script.py SOURCE EDITED',
    "    build(keras.saving.load_model(sys.argv[1])).save(sys.argv[2])",
]
