"""The weights that an HDF5 file holds, by layer: names, shapes and places, without their values.

Only hard links inside the file are followed, and only datasets that lie in it are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o

from ..errors import ModelFileError
from ..names import snake_case
from .classes import is_trained, part_of, part_order, weight_names
from .container import RATIO, Contents
from .layers import Layer, Model, Net

MAX_OBJECTS = 500_000
_MAX_DEPTH = 60
_ALWAYS = 1 << 30  # bytes that a packed weight may take, however small the file is
_SKIPPED = ("seed_generator", "seed_generators")  # not a weight for Keras
_FILTERS = {1, 2, 3}  # deflate, shuffle, checksum: those that HDF5 itself has


@dataclass(frozen=True)
class Weight:
    """A weight as the file has it. `dtype` is None for what holds no numbers, such as a vocabulary."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    dataset: h5py.Dataset

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What its values take in memory."""
        return self.size * (self.dtype.itemsize if self.dtype is not None else 0)

    @property
    def trained(self) -> bool:
        """Whether training changes it where its layer trains."""
        return is_trained(self.name)


Found = dict[str, list[Weight]]


def find_weights(contents: Contents, model: Model) -> Found:
    """The weights of each layer, by its path.

    Raises:
        ModelFileError: the file is damaged, or refers to what is outside of it.
    """
    if contents.hdf5 is None or contents.window is None:
        return {}
    reader = _Reader(contents.window.size)
    try:
        if contents.format == ".h5":
            return reader.old(contents.hdf5, model)
        return reader.new(contents.hdf5, model)
    except ModelFileError:
        raise
    except Exception as problem:
        raise ModelFileError(f"The weights are damaged: {problem}"[:400]) from problem


class _Reader:
    """Looks into groups, and counts what it has seen."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0

    def members(self, group: h5py.Group) -> list[tuple[str, h5py.Group | h5py.Dataset]]:
        """What a group holds itself."""
        found = []
        for name in group.id:
            self._seen += 1
            if self._seen > MAX_OBJECTS:
                raise ModelFileError(f"The file holds more than {MAX_OBJECTS:,} objects.")
            if (item := _open(group, name)) is not None:
                found.append((name.decode("utf-8", "replace"), item))
        return found

    def child(self, group: h5py.Group | None, path: str) -> h5py.Group | h5py.Dataset | None:
        """What stands at a path of names; None where nothing does."""
        item: Any = group
        for name in path.encode("utf-8", "surrogateescape").split(b"/"):
            if not isinstance(item, h5py.Group) or not name or not item.id.links.exists(name):
                return None
            item = _open(item, name)
        return item

    def group(self, parent: h5py.Group | None, path: str) -> h5py.Group | None:
        item = self.child(parent, path)
        return item if isinstance(item, h5py.Group) else None

    def weight(self, name: str, dataset: h5py.Dataset) -> Weight:
        plist = dataset.id.get_create_plist()
        if plist.get_layout() == h5d.VIRTUAL or plist.get_external_count():
            raise ModelFileError("The file keeps weights in other files, which are not looked at.")
        shape = dataset.shape
        if shape is None:
            raise ModelFileError(f"The file is damaged: the weight '{name[:80]}' has no shape.")
        weight = Weight(name, tuple(map(int, shape)), _dtype(dataset), dataset)
        packed = plist.get_layout() == h5d.CHUNKED
        if weight.nbytes > (max(_ALWAYS, RATIO * self._size) if packed else self._size):
            raise ModelFileError(
                f"The file is damaged: the weight '{name[:80]}' would take "
                f"{weight.nbytes >> 20:,} MiB, more than the file has."
            )
        return weight

    # -- .keras: by class and number, with a number for each weight ------------------------------

    def new(self, file: h5py.File, model: Model) -> Found:
        if model.opaque:
            return self._opaque(file)
        found: Found = {}
        self._net(file, model.net, "", found)
        return found

    def _net(self, group: h5py.Group, net: Net, prefix: str, found: Found) -> None:
        inside = self.group(group, "layers") or self.group(group, "_layer_checkpoint_dependencies")
        numbers: dict[str, int] = {}
        for layer in net.layers:
            # A Sequential does not count its input among its layers.
            if layer.kind == "op" or (net.chain and layer.kind == "input"):
                continue
            stem = snake_case(layer.class_name)
            number = numbers[stem] = numbers.get(stem, -1) + 1
            own = self.group(inside, f"{stem}_{number}" if number else stem)
            path = prefix + layer.name
            if own is None:
                continue
            if layer.net is not None:
                self._net(own, layer.net, f"{path}/", found)
            else:
                found[path] = list(self._weights(own, layer.class_name, layer.config, "", 0))

    def _weights(
        self, group: h5py.Group, class_name: str, config: Mapping[str, Any], prefix: str, depth: int
    ) -> Iterator[Weight]:
        """The weights of a layer, and of the layers that it is made of."""
        if depth > _MAX_DEPTH:
            raise ModelFileError("The weights are nested without end.")
        members = dict(self.members(group))
        own = members.pop("vars", None)
        if isinstance(own, h5py.Group):
            stored = [
                (name, item) for name, item in self.members(own) if isinstance(item, h5py.Dataset)
            ]
            stored.sort(key=lambda pair: (len(pair[0]), pair[0]))  # "10" comes after "9"
            names = weight_names(class_name, config, len(stored))
            for name, (_, dataset) in zip(names, stored, strict=True):
                yield self.weight(prefix + name, dataset)
        for name in sorted(members, key=lambda name: part_order(class_name, name)):
            part = members[name]
            if isinstance(part, h5py.Group) and name not in _SKIPPED:
                inner = part_of(class_name, config, name)
                yield from self._weights(
                    part, *inner, f"{prefix}{self._own_name(part) or name}/", depth + 1
                )

    def _own_name(self, group: h5py.Group) -> str:
        """What the layer that a group is of is called, where Keras has noted it."""
        inside = self.group(group, "vars")
        name = inside.attrs.get("name") if inside is not None else None
        return name if isinstance(name, str) and len(name) < 1000 else ""

    def _opaque(self, file: h5py.File) -> Found:
        """The weights of a model of a class of its own: what it is made of is not told elsewhere."""
        found: Found = {}
        for name, part in self.members(file):
            if not isinstance(part, h5py.Group) or name == "optimizer":
                continue
            inside = [(name, part)]
            if name in ("layers", "_layer_checkpoint_dependencies"):
                inside = [(n, p) for n, p in self.members(part) if isinstance(p, h5py.Group)]
            for key, group in inside:
                if key == "vars":
                    weights = [
                        self.weight(n, d)
                        for n, d in self.members(group)
                        if isinstance(d, h5py.Dataset)
                    ]
                    if weights:
                        found[key] = weights
                    continue
                path = self._own_name(group) or key
                while path in found:
                    path += "_"
                found[path] = list(self._weights(group, "", {}, "", 0))
        return found

    # -- .h5: by the layer's name, with the weights of a nested model in one list ------------------

    def old(self, file: h5py.File, model: Model) -> Found:
        group = self.group(file, "model_weights") or file
        if model.opaque:
            paths = {
                name: name for name, item in self.members(group) if isinstance(item, h5py.Group)
            }
            return {
                path: list(self._listed(self.group(group, name))) for path, name in paths.items()
            }
        found: Found = {}
        for layer in model.net.layers:
            leaves: dict[str, list[tuple[str, ...]]] = {}
            for leaf in _leaves(layer, ()):
                leaves.setdefault(leaf[-1], []).append(leaf)
            for weight in self._listed(self.group(group, layer.name)):
                path, name = _place(weight.name, layer.name, leaves, found)
                told = Weight(name, weight.shape, weight.dtype, weight.dataset)
                found.setdefault(path, []).append(told)
        return found

    def _listed(self, group: h5py.Group | None) -> Iterator[Weight]:
        """The weights of a group, as its list has them."""
        if group is None:
            return
        for name in _names(group):
            dataset = self.child(group, name)
            if not isinstance(dataset, h5py.Dataset):
                raise ModelFileError(f"The file is damaged: the weight '{name[:80]}' is not there.")
            yield self.weight(name.removesuffix(":0"), dataset)


def _open(group: h5py.Group, name: bytes) -> h5py.Group | h5py.Dataset | None:
    """A group or dataset of a group; None for what is neither."""
    if group.id.links.get_info(name).type != h5l.TYPE_HARD:
        raise ModelFileError("The file refers to other files or places, which are not looked at.")
    found = h5o.open(group.id, name)
    if isinstance(found, h5g.GroupID):
        return h5py.Group(found)
    return h5py.Dataset(found) if isinstance(found, h5d.DatasetID) else None


def _names(group: h5py.Group) -> Iterator[str]:
    """The names of a group's weights; a long list is in several pieces."""
    pieces = ["weight_names"] if "weight_names" in group.attrs else []
    while not pieces or pieces[0] != "weight_names":
        name = f"weight_names{len(pieces)}"
        if name not in group.attrs:
            break
        pieces.append(name)
    for piece in pieces:
        for name in np.asarray(group.attrs[piece]).reshape(-1).tolist():
            if isinstance(name, bytes):
                name = name.decode("utf-8", "replace")
            if isinstance(name, str):
                yield name


def _leaves(layer: Layer, around: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of the layers that a layer is, or of those inside it where it is a model."""
    here = (*around, layer.name)
    if layer.net is None:
        yield here
        return
    for inner in layer.net.layers:
        yield from _leaves(inner, here)


def _place(
    name: str, layer: str, leaves: Mapping[str, list[tuple[str, ...]]], found: Found
) -> tuple[str, str]:
    """The path of the layer that a weight in the list belongs to, and its name in that layer.

    The list has the name of the layer in it, and of the models around it those that it was made in.

    Args:
        name: in the list.
        layer: the outermost one around it.
        leaves: the paths of all inside that are no models, by their names.
        found: what is placed already: of layers of one name, each has a weight once.
    """
    parts = name.split("/")
    best, place = -1, (layer, name)
    for at, part in enumerate(parts[:-1]):
        for leaf in leaves.get(part, ()):
            inside, path = "/".join(parts[at + 1 :]), "/".join(leaf)
            fits = sum(model in parts[:at] for model in leaf[:-1])
            if fits > best and all(weight.name != inside for weight in found.get(path, ())):
                best, place = fits, (path, inside)
    return place


def _dtype(dataset: h5py.Dataset) -> np.dtype[Any] | None:
    """The dtype of a dataset's values; None where these are no numbers."""
    dtype = dataset.dtype
    if dataset.attrs.get("dtype") == "bfloat16" and dtype.itemsize == 2:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return dtype if dtype.kind in "fiub" else None


def read_values(contents: Contents, weight: Weight) -> np.ndarray:
    """The values of a weight; where they lie in one piece they are not copied, but seen in the file.

    Raises:
        ModelFileError: they are packed by what HDF5 itself does not have.
    """
    assert weight.dtype is not None and contents.window is not None
    dataset, window = weight.dataset, contents.window
    offset = dataset.id.get_offset()
    if offset is not None and weight.size:
        if offset + weight.nbytes > window.size:
            raise ModelFileError("The file is damaged: weights in it are cut off.")
        return np.memmap(
            window.file,
            weight.dtype,
            "r",
            window.start + offset,
            weight.shape,  # pyright: ignore
        )
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise ModelFileError("The weights are packed in a way that is not read here.")
    values = dataset[...]
    return values.view(weight.dtype) if values.dtype != weight.dtype else values
