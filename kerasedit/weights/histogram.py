"""Histograms of weights: what `np.histogram` counts, with the figures, in a fraction of its time.

Two passes over chunks that fit in the cache. The first takes the figures that need no range;
the second bins, and sums the deviations from the mean and their squares. Nothing the size of the
array is made, unless it lies scattered in memory.

Where `np.histogram` looks up two edges for every value to correct its estimate of the bin, here the
estimate says by itself whether it can be wrong (see `_Counter`), and only the few values for which
it can are looked up. The counts are the same.

Importing this module imports no Keras.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Histogram", "histogram", "pack", "pooled"]

Array = NDArray[Any]
Limits = tuple[float, float]

# Elements per chunk: enough to hide the price of some twenty NumPy calls, few enough for the
# scratch arrays (5 MB) to stay in the cache. Speed is flat from 2**17 to 2**19.
_CHUNK = 1 << 18
# Of each chunk this many give a first estimate of the mean: a sixteenth of all values, of which the
# mean is within sqrt(16) standard deviations of the whole's, whichever values they are.
_SAMPLE = _CHUNK // 16
# Chunks are summed as tables, so that few additions are made in float32 and the rest in float64:
# over columns of `chunk / _COLUMNS`, over rows of `_ROW`. BLAS starts no threads for such rows.
_COLUMNS = 1 << 14
_ROW = 512


@dataclass(frozen=True, eq=False, repr=False)
class Histogram:
    """How the values of an array are spread. NaN and Inf are counted apart from all the rest.

    Attributes:
        counts: uint64 `(bins,)`, the finite values in each bin. A bin holds its lower edge and not
            its upper one; the last bin holds both.
        edges: float64 `(bins + 1,)`, ascending.
        min, max, mean, std: of the finite values, also those outside the bins; NaN when there are
            none. `std` is the population's (`np.std`).
        zeros, nans, infs: how many values are 0 (or -0), NaN, and plus or minus infinity.
        size: how many values there are in all.
    """

    counts: NDArray[np.uint64]
    edges: NDArray[np.float64]
    min: float
    max: float
    mean: float
    std: float
    zeros: int
    nans: int
    infs: int
    size: int

    def __post_init__(self) -> None:
        self.counts.flags.writeable = False
        self.edges.flags.writeable = False

    def __repr__(self) -> str:
        return (
            f"Histogram({self.counts.size} bins of [{self.edges[0]:.4g}, {self.edges[-1]:.4g}], "
            f"size={self.size}, min={self.min:.4g}, max={self.max:.4g}, mean={self.mean:.4g}, "
            f"std={self.std:.4g}, zeros={self.zeros}, nans={self.nans}, infs={self.infs})"
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain lists and numbers. JSON has no NaN: a missing figure is `None`."""
        figures = {name: getattr(self, name) for name in ("min", "max", "mean", "std")}
        return {
            "counts": self.counts.tolist(),
            "edges": self.edges.tolist(),
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
            "zeros": self.zeros,
            "nans": self.nans,
            "infs": self.infs,
            "size": self.size,
        }


def histogram(array_or_variable: Any, bins: int = 64, range: Limits | None = None) -> Histogram:
    """The histogram of an array's finite values, with the figures of all of them.

    Counts and edges are those of `np.histogram(finite, bins, range)`, which takes the edges in the
    array's own dtype (float64 for integers and booleans). bfloat16 and the 8-bit floats, which
    NumPy can't bin, are taken as float32. Where NumPy raises because the dtype can't tell so many
    edges apart (a float16 layer after one step from its initial ones), or overflows, the edges are
    float64, and where that is too coarse as well, the range is widened until it is not.

    Args:
        array_or_variable: a NumPy array, number or list; a Keras variable; a tensor of TensorFlow,
            JAX or torch. Any shape, any boolean, integer or real dtype.
        bins: how many bins of equal width, at least 1.
        range: lowest and highest edge. Values outside are not counted in the bins, but are in the
            figures. By default the smallest and the largest finite value.

    Raises:
        ValueError: `bins` is below 1; `range` is not finite, reversed, or too narrow for `bins`.
        TypeError: the values are complex or no numbers; `bins` is no integer.

    Method: see the module. Mean and standard deviation are sums shifted by a first estimate of the
    mean (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983). They are
    off by some 1e-14 of the standard deviation for float64 and integers of 32 bits and more, by
    1e-7 for the rest, and by a hundred times that at worst.
    """
    array = _as_array(array_or_variable)
    return _histogram([array], _edge_dtype(array.dtype), bins, range)


def pooled(arrays: Iterable[Any], bins: int = 64, range: Limits | None = None) -> Histogram:
    """One histogram over the values of several arrays, say of all the weights of a layer.

    The same as `histogram` of the arrays flattened, cast to float64 and joined, but joins and
    casts nothing. Takes and raises what `histogram` does; no arrays are an empty array.
    """
    return _histogram([_as_array(array) for array in arrays], np.dtype(np.float64), bins, range)


def pack(histogram: Histogram) -> NDArray[np.float32]:
    """The histogram as it goes over the wire: little-endian float32 `(bins + 8,)`.

    The counts, then `min, max, mean, std, zeros, nans, infs, size`.
    """
    h = histogram
    figures = [h.min, h.max, h.mean, h.std, h.zeros, h.nans, h.infs, h.size]
    with np.errstate(over="ignore"):
        return np.concatenate([h.counts, figures]).astype("<f4")


def _as_array(values: Any) -> Array:
    """`values` as a NumPy array of real numbers."""
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError):
        # A torch tensor that requires a gradient, is not on the CPU, or has a dtype that NumPy
        # lacks: Keras's torch backend knows what to do.
        from keras import ops

        array = np.asarray(ops.convert_to_numpy(values))
    if array.dtype.kind in "mM" or not np.can_cast(array.dtype, np.float64, "same_kind"):
        raise TypeError(f"a histogram needs real numbers, not {array.dtype}")
    return array


def _edge_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that the edges of an array of `dtype` are computed in."""
    if dtype.type in (np.float16, np.float32):
        return np.dtype(dtype.type)
    extension = dtype.kind not in "biu" and dtype.itemsize <= 2
    return np.dtype(np.float32 if extension else np.float64)


def _work_dtype(arrays: Sequence[Array]) -> np.dtype[Any]:
    """float32 when that holds all values exactly, else float64."""
    exact = all(np.can_cast(array.dtype, np.float32) for array in arrays)
    return np.dtype(np.float32 if exact else np.float64)


def _chunks(arrays: Sequence[Array], dtype: np.dtype[Any]) -> Iterator[Array]:
    """The values of `arrays` in runs of at most `_CHUNK`, as `dtype`, in no particular order."""
    for array in arrays:
        # In the order of memory: a transposed array is a view all the same.
        flat = array.ravel(order="K")
        for start in range(0, flat.size, _CHUNK):
            yield flat[start : start + _CHUNK].astype(dtype, copy=False)


def _table(values: Array, columns: int) -> tuple[Array, Array]:
    """`values` as rows of `columns`, and what is left over."""
    whole = values.size - values.size % columns
    return values[:whole].reshape(-1, columns), values[whole:]


def _sum(values: Array) -> float:
    """The sum of `values`: down the columns in their own dtype, then across in float64."""
    table, rest = _table(values, _COLUMNS)
    columns = np.add.reduce(table, axis=0)
    total = np.add.reduce(columns, dtype=np.float64) + np.add.reduce(rest, dtype=np.float64)
    return float(total)


def _sum_of_squares(values: Array) -> float:
    """The sum of `values**2`: along the rows in their own dtype, then down in float64."""
    table, rest = _table(values, _ROW)
    rows = np.vecdot(table, table)
    return float(np.add.reduce(rows, dtype=np.float64) + np.vecdot(rest, rest))


def _edges(outer: Array, bins: int, limits: Limits | None) -> NDArray[np.float64]:
    """The edges for values between the two of `outer`, or for no values when that is empty."""
    for dtype in (outer.dtype, np.dtype(np.float64)):
        try:
            edges = np.histogram_bin_edges(outer.astype(dtype), bins, limits)
        except ValueError:  # neighbouring edges would round to the same value
            continue
        if np.isfinite(edges).all():
            return edges.astype(np.float64)
    if limits is not None:
        raise ValueError(f"{bins} bins don't fit in range={limits}: float64 is too coarse")
    # Room for two float64 steps per bin, and halves, whose difference can't overflow.
    low, high = outer.astype(np.float64) / 2
    room = bins * np.spacing(max(abs(low), abs(high)))
    most = np.finfo(np.float64).max / 2
    return 2 * np.linspace(max(low - room, -most), min(high + room, most), bins + 1)


def _at_least(edges: NDArray[np.float64], dtype: DTypeLike) -> Array:
    """For each edge the smallest value of `dtype` that is not below it."""
    rounded = edges.astype(dtype)
    return np.where(rounded < edges, np.nextafter(rounded, rounded.dtype.type(np.inf)), rounded)


class _Counter:
    """Counts values between the first and the last edge into bins.

    Each value `x` is mapped to a cell, `int((x - start) * scale)`, of which every bin is given
    `2**shift`: the high bits of a cell are an estimate of the bin, its low bits the place in it.
    The map is rounded, but each of its steps is monotonic. So when the edge between any two bins is
    seen to fall into the last `k` cells of the lower bin, then values below the edge lie at most
    there, values from it on at least there, and the estimate is right everywhere but in the last
    `k` cells of a bin. Values in those are looked up among the edges. Where the map is too coarse
    for the edges, `k` is all cells.

    Args:
        edges: float64 `(bins + 1,)`, ascending.
        dtype: of the values, float32 or float64.
        chunk: how many values are added at once, at most.
    """

    def __init__(self, edges: NDArray[np.float64], dtype: np.dtype[Any], chunk: int) -> None:
        bins = edges.size - 1
        # Comparing with these is comparing with the edges, in the dtype of the values.
        lower = _at_least(edges[:-1], dtype)
        self.first, self.inner = lower[0], lower[1:]
        self.last = -_at_least(-edges[-1:], dtype)[0]
        self.bins = bins

        # Half the bits are twice as quick. 20 are few enough for float32 to err by half a cell.
        bits, cell = (16, np.dtype(np.uint16)) if bins <= 256 else (20, np.dtype(np.int32))
        self.shift = max(1, bits - max(1, (bins - 1).bit_length()))
        per_bin = 1 << self.shift
        self.low_bits = cell.type(per_bin - 1)
        self.scale = dtype.type(bins * per_bin / (edges[-1] - edges[0]))
        # The edges go to half a cell before their bin, or more. So the first one truncates to cell
        # 0, and the last one is in the last cell: none overflows.
        marks = np.append(lower, self.last)
        nominal = np.arange(bins + 1) * per_bin
        ahead = (marks - self.first) * self.scale - nominal
        start = self.first + (0.5 + ahead.max(keepdims=True)) / np.float64(self.scale)
        self.start = _at_least(start, dtype)[0]
        scaled = (marks - self.start) * self.scale
        # Coarse edges. What a negative number is as an unsigned one depends on the processor.
        self.clip = scaled[0] <= -1
        k = (nominal - np.trunc(scaled))[1:]
        fits = k.min() >= 1 and k.max() < per_bin  # NaN does not fit
        self.doubtful = cell.type(per_bin - k.max() if fits else 0)

        # With few bins two values at a time are counted, in a table with a row and a column for
        # each: counting takes as long per entry as all the rest together.
        self.pairs = bins * bins <= min(chunk, 1 << 14)
        self.table = np.zeros(bins * bins if self.pairs else bins, np.intp)
        self.odd = np.zeros(bins, np.intp)

        self.scaled = np.empty(chunk, dtype)
        self.cells = np.empty(chunk, cell)
        self.places = np.empty(chunk, cell)
        self.flags = np.empty(chunk, bool)
        self.entries = np.empty(chunk // 2 if self.pairs else chunk, np.intp)

    def add(self, values: Array) -> None:
        """Counts `values`, of which none may lie outside `first` to `last`."""
        n = values.size
        scaled = np.subtract(values, self.start, out=self.scaled[:n])
        np.multiply(scaled, self.scale, out=scaled)
        if self.clip:
            np.maximum(scaled, 0, out=scaled)
        cells = self.cells[:n]
        np.copyto(cells, scaled, casting="unsafe")
        places = np.bitwise_and(cells, self.low_bits, out=self.places[:n])
        doubts = np.flatnonzero(np.greater_equal(places, self.doubtful, out=self.flags[:n]))
        bins = np.right_shift(cells, self.shift, out=cells)
        bins[doubts] = np.searchsorted(self.inner, values[doubts], side="right")

        if self.pairs:
            half, odd = divmod(n, 2)
            if odd:
                self.odd[bins[-1]] += 1
            pairs = np.multiply(bins[:half], self.bins, out=places[:half])
            bins = np.add(pairs, bins[half : 2 * half], out=pairs)
        # `np.add.at` is quicker than `np.bincount`, which first looks for the largest entry.
        entries = self.entries[: bins.size]
        np.copyto(entries, bins)
        np.add.at(self.table, entries, 1)

    def counts(self) -> NDArray[np.uint64]:
        """The counts so far, uint64 `(bins,)`."""
        counts = self.table
        if self.pairs:
            table = self.table.reshape(self.bins, self.bins)
            counts = table.sum(axis=0) + table.sum(axis=1) + self.odd
        return counts.astype(np.uint64)


def _histogram(
    arrays: Sequence[Array], edge_dtype: np.dtype[Any], bins: int, limits: Limits | None
) -> Histogram:
    bins = operator.index(bins)
    if bins < 1:
        raise ValueError(f"bins={bins}: at least one is needed")
    if limits is not None:
        low, high = limits
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"range={limits}: two finite numbers are needed, the lower one first")
    # NaN, Inf, overflow and underflow are seen to below, not warned of.
    with np.errstate(all="ignore"):
        return _two_passes(arrays, edge_dtype, bins, limits)


def _two_passes(
    arrays: Sequence[Array], edge_dtype: np.dtype[Any], bins: int, limits: Limits | None
) -> Histogram:
    work = _work_dtype(arrays)
    size = sum(array.size for array in arrays)
    chunk = min(_CHUNK, max((array.size for array in arrays), default=0))

    low, high, sample = math.inf, -math.inf, 0.0
    sampled = zeros = nans = infs = 0
    flags = np.empty(chunk, bool)
    for values in _chunks(arrays, work):
        least, most = np.minimum.reduce(values), np.maximum.reduce(values)
        if not (np.isfinite(least) and np.isfinite(most)):
            nans += int(np.count_nonzero(np.isnan(values)))
            infs += int(np.count_nonzero(np.isinf(values)))
            values = values[np.isfinite(values)]
            if not values.size:
                continue
            least, most = np.minimum.reduce(values), np.maximum.reduce(values)
        low, high = min(low, float(least)), max(high, float(most))
        sample += float(np.add.reduce(values[:_SAMPLE], dtype=np.float64))
        sampled += min(values.size, _SAMPLE)
        zeros += int(np.count_nonzero(np.equal(values, 0, out=flags[: values.size])))

    finite = size - nans - infs
    outer = np.array([low, high] if finite else [], edge_dtype)
    edges = _edges(outer, bins, limits)
    counter = _Counter(edges, work, chunk)
    if not finite:
        nan = math.nan
        return Histogram(counter.counts(), edges, nan, nan, nan, nan, zeros, nans, infs, size)

    # Deviations from any value near the mean will do, and round less than the values would. Where
    # squares could overflow or underflow, they are taken as float64 and in a unit of their own.
    span = min(high - low, sys.float_info.max)
    if 2.0**-32 < span < 2.0**32:
        exact, exponent = work, 0
        center = float(work.type(sample / sampled))
    else:
        exact, exponent = np.dtype(np.float64), math.frexp(span)[1]
        center = low / 2 + high / 2
    inside = counter.first <= low and high <= counter.last
    buffer = np.empty(chunk, exact)
    total = squares = 0.0
    for values in _chunks(arrays, work):
        if finite < size:
            values = values[np.isfinite(values)]
        apart = np.subtract(values, center, out=buffer[: values.size], dtype=exact)
        if exponent:
            np.ldexp(apart, -exponent, out=apart)
        total += _sum(apart)
        squares += _sum_of_squares(apart)
        if not inside:
            values = values[(values >= counter.first) & (values <= counter.last)]
        counter.add(values)
    offset = total / finite
    mean = center + math.ldexp(offset, exponent)
    std = math.ldexp(math.sqrt(max(squares / finite - offset**2, 0.0)), exponent)
    return Histogram(counter.counts(), edges, low, high, mean, std, zeros, nans, infs, size)
