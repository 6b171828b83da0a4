"""`histogram` counts what `np.histogram` counts, and its figures are right."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kerasedit.weights import histogram as module
from kerasedit.weights.histogram import Histogram, histogram, pack, pooled

FLOATS = (np.float16, np.float32, np.float64)
INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
BINS = st.sampled_from([1, 2, 3, 7, 10, 64, 100, 127, 129, 256, 257, 1000])


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def numpy_histogram(finite: np.ndarray, bins: int, limits: Any) -> tuple[np.ndarray, np.ndarray]:
    """What NumPy says, if it can say anything."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            edges = np.histogram_bin_edges(finite, bins, limits)
            assume(np.isfinite(edges).all())
            return np.histogram(finite, bins, limits)
        except ValueError as error:  # too many bins for the dtype
            assume("Too many bins" not in str(error))
            raise


def by_definition(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts, one comparison at a time."""
    at_least = values >= edges[:-1, None]
    below = values < edges[1:, None]
    below[-1] = values <= edges[-1]
    return (at_least & below).sum(axis=1)


def check(h: Histogram, array: np.ndarray) -> None:
    """The figures and the shape of things."""
    values = array.ravel()
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    assert h.size == values.size
    assert h.zeros == np.count_nonzero(wide == 0)
    assert h.nans == np.count_nonzero(np.isnan(wide))
    assert h.infs == np.count_nonzero(np.isinf(wide))
    assert h.counts.dtype == np.uint64
    assert h.edges.dtype == np.float64
    assert h.edges.shape == (h.counts.size + 1,)
    assert all(type(x) is float for x in (h.min, h.max, h.mean, h.std))
    assert all(type(x) is int for x in (h.zeros, h.nans, h.infs, h.size))
    if not finite.size:
        assert all(math.isnan(x) for x in (h.min, h.max, h.mean, h.std))
        return
    assert h.min == finite.min()
    assert h.max == finite.max()
    exact = values.dtype.itemsize >= 4 and values.dtype != np.float32
    # NumPy's overflow and underflow where ours don't.
    magnitude = float(np.abs(finite).max())
    exponent = math.frexp(magnitude)[1]
    scaled = np.ldexp(finite, -exponent)
    mean = math.ldexp(math.fsum(scaled) / finite.size, exponent)
    std = math.ldexp(float(np.std(scaled)), exponent)
    assert h.mean == pytest.approx(mean, rel=1e-14, abs=(1e-14 if exact else 1e-6) * std + 1e-322)
    # NumPy rounds the mean.
    assert h.std == pytest.approx(std, rel=1e-12 if exact else 1e-6, abs=1e-15 * magnitude + 1e-322)


# --- Against NumPy --------------------------------------------------------------------------------


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from([*FLOATS, *INTEGERS, np.bool_])))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12))
    if dtype.kind == "f" and draw(st.booleans()):
        # Values that crowd together far from zero, or fall onto edges: a grid.
        origin = draw(st.sampled_from([0.0, 1.0, -1.0, 1000.0, 0.1]))
        step = draw(st.sampled_from([1.0, 0.1, 2.0**-6, 2.0**-20, 1e-30, 2.0**-140]))
        grid = draw(hnp.arrays(np.int16, shape, elements=st.integers(-64, 64)))
        return (origin + grid * step).astype(dtype)
    return draw(hnp.arrays(dtype, shape))


def limits_for(dtype: np.dtype) -> st.SearchStrategy[Any]:
    number = st.floats(-1000, 1000, width=16) | st.integers(-100, 100)
    if dtype.kind == "f":
        number |= st.floats(-10, 10).map(np.float64)
    return st.none() | st.tuples(number, number).map(lambda pair: tuple(sorted(pair)))


@given(st.data())
def test_counts_and_edges_are_those_of_numpy(data: st.DataObject) -> None:
    array = data.draw(arrays())
    bins = data.draw(BINS)
    limits = data.draw(limits_for(array.dtype))
    plain = array.astype(np.uint8) if array.dtype == bool else array
    finite = plain[np.isfinite(plain)]
    if array.dtype == np.float16:
        # NumPy's arithmetic in float16 is off by more than the one bin that it corrects.
        assume(bins <= 64)
    counts, edges = numpy_histogram(finite, bins, limits)
    h = histogram(array, bins, limits)
    assert np.array_equal(h.edges, edges)
    assert np.array_equal(h.counts, counts)
    check(h, array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [1, 7, 64, 128, 129, 256, 257, 1000, 40_000])
@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0])
def test_values_on_and_beside_every_edge(dtype: type, bins: int, offset: float) -> None:
    rng = np.random.default_rng(bins)
    outer = np.array([-0.3, 0.7], dtype) + dtype(offset)
    edges = np.histogram_bin_edges(outer, bins)
    beside = [np.nextafter(edges, dtype(sign * np.inf)) for sign in (-1, 1)]
    array = np.concatenate([edges, *beside, edges, rng.uniform(outer[0], outer[1], 1000)]).astype(
        dtype
    )
    array = np.clip(array, *outer)
    rng.shuffle(array)
    h = histogram(array, bins)
    counts, edges = np.histogram(array, bins)
    assert np.array_equal(h.counts, counts)
    assert np.array_equal(h.edges, edges)


@pytest.mark.parametrize("bins", [1, 2, 3, 5, 63, 64, 65, 128, 129, 255, 256, 257, 5000])
def test_few_values_have_to_be_looked_up(bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortcut is one: else this would be correct, and slow."""
    array = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    looked_up = []
    searchsorted = np.searchsorted
    monkeypatch.setattr(
        np,
        "searchsorted",
        lambda a, v, side: looked_up.append(v.size) or searchsorted(a, v, side=side),
    )
    h = histogram(array, bins)
    assert sum(looked_up) < array.size / 100 * (1 if bins < 1000 else 5)
    assert np.array_equal(h.counts, np.histogram(array, bins)[0])


CHUNK = module._CHUNK


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 8191, 3 * CHUNK])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int32])
@pytest.mark.parametrize("bins", [64, 200])
def test_arrays_of_several_chunks(size: int, dtype: type, bins: int) -> None:
    array = (np.random.default_rng(size).normal(size=size) * 20).astype(dtype)
    h = histogram(array, bins)
    counts, edges = np.histogram(array, bins)
    assert np.array_equal(h.counts, counts)
    assert np.array_equal(h.edges, edges)
    check(h, array)


def test_float16_of_several_chunks() -> None:
    array = np.random.default_rng(0).normal(size=2 * CHUNK + 5).astype(np.float16)
    h = histogram(array)
    counts, edges = np.histogram(array, 64)
    assert np.array_equal(h.counts, counts)
    assert np.array_equal(h.edges, edges)
    check(h, array)


def test_extremes_and_lone_values_in_other_chunks() -> None:
    array = np.zeros(3 * CHUNK + 1, np.float32)
    array[0], array[CHUNK], array[-1], array[-2] = -3, np.nan, 5, np.inf
    h = histogram(array, 8)
    assert h.counts.tolist() == [1, 0, 0, array.size - 4, 0, 0, 0, 1]
    assert (h.min, h.max, h.zeros, h.nans, h.infs) == (-3, 5, array.size - 4, 1, 1)
    check(h, array)


def test_values_outside_a_range_are_in_the_figures_only() -> None:
    array = np.random.default_rng(0).normal(size=CHUNK + 10).astype(np.float32)
    h = histogram(array, 16, (-0.5, 2))
    assert np.array_equal(h.counts, np.histogram(array, 16, (-0.5, 2))[0])
    assert h.counts.sum() < array.size
    check(h, array)
    assert histogram(array, 16, (100, 200)).counts.sum() == 0


@pytest.mark.parametrize("limits", [(0, 1), (np.float64(0.1), np.float64(0.7)), (0.1, 0.7)])
def test_a_range_is_rounded_as_numpy_rounds_it(limits: Any) -> None:
    edge = np.float32(0.7)
    array = np.array([np.nextafter(edge, np.float32(0)), edge, np.nextafter(edge, np.float32(1))])
    counts, edges = np.histogram(array, 5, limits)
    h = histogram(array, 5, limits)
    assert np.array_equal(h.counts, counts)
    assert np.array_equal(h.edges, edges)


# --- Where NumPy gives up -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, 1.001, 0.999], np.float16),
        np.array([1, np.nextafter(np.float32(1), np.float32(2))], np.float32),
        np.full(3, -1e9, np.float32),
        np.array([-65504, 65504, 0], np.float16),
        np.array([-3e38, 3e38, 0], np.float32),
        np.array([0, 1e-45], np.float32),
    ],
)
def test_edges_are_float64_where_the_dtype_is_too_coarse(array: np.ndarray) -> None:
    h = histogram(array)
    counts, edges = np.histogram(array.astype(np.float64), 64)
    assert np.array_equal(h.edges, edges)
    assert np.array_equal(h.counts, counts)
    check(h, array)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, np.nextafter(1.0, 2.0)],
        [1e300] * 3,
        [np.finfo(float).max] * 2,
        [-np.finfo(float).max, 0.0, np.finfo(float).max],
        [0.0, 5e-324],
        [2**63 - 1, 2**63 - 2],
    ],
)
@pytest.mark.parametrize("bins", [1, 64, 1000])
def test_the_range_is_widened_where_float64_is_too_coarse(values: list[Any], bins: int) -> None:
    array = np.array(values)
    h = histogram(array, bins)
    assert np.isfinite(h.edges).all()
    assert (h.edges[:-1] < h.edges[1:]).all()
    assert np.array_equal(h.counts, by_definition(array.astype(float), h.edges))
    assert h.counts.sum() == array.size
    check(h, array)


@given(hnp.arrays(st.sampled_from(FLOATS), hnp.array_shapes(min_dims=0)), BINS)
@example(np.array([5e-324, -5e-324, np.nan, 0.0]), 64)
def test_no_values_are_refused(array: np.ndarray, bins: int) -> None:
    h = histogram(array, bins)
    finite = array[np.isfinite(array)].astype(np.float64)
    assert np.array_equal(h.counts, by_definition(finite, h.edges))
    assert h.counts.sum() == finite.size
    check(h, array)


# --- Kinds of input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4],
)
def test_small_dtypes_are_taken_as_float32(dtype: type) -> None:
    array = (np.random.default_rng(0).normal(size=(5, 200)) * 2).astype(dtype)
    if np.dtype(dtype) != ml_dtypes.int4:
        array[0, :3] = np.nan
    wide = array.astype(np.float32)
    h = histogram(array)
    counts, edges = np.histogram(wide[np.isfinite(wide)], 64)
    assert np.array_equal(h.counts, counts)
    assert np.array_equal(h.edges, edges)
    check(h, wide)


def test_long_doubles_are_taken_as_float64() -> None:
    array = np.random.default_rng(0).normal(size=100)
    h = histogram(array.astype(np.longdouble))
    assert np.array_equal(h.counts, np.histogram(array, 64)[0])


def test_other_byte_orders() -> None:
    array = np.random.default_rng(0).normal(size=100).astype(np.float32)
    h = histogram(array.astype(">f4"))
    assert np.array_equal(h.counts, histogram(array).counts)
    assert np.array_equal(h.edges, histogram(array).edges)


def test_numbers_and_lists() -> None:
    assert histogram(3).counts.sum() == 1
    assert histogram(3).edges[[0, -1]].tolist() == [2.5, 3.5]
    assert histogram([[1, 2], [2, 3]], 3).counts.tolist() == [1, 2, 1]
    assert histogram([True, False, True], 2).counts.tolist() == [1, 2]


def test_empty_and_nothing_finite() -> None:
    for array in ([], np.empty((0, 3), np.float32), [np.nan, np.inf, -np.inf]):
        h = histogram(array, 4)
        assert h.counts.tolist() == [0, 0, 0, 0]
        assert h.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
        check(h, np.asarray(array))


@pytest.mark.parametrize("value", [0.1, 0.0, -7.3, 1e30])
def test_a_constant_has_no_spread(value: float) -> None:
    array = np.full(CHUNK + 3, value, np.float32)
    h = histogram(array)
    assert h.std == 0
    assert h.mean == h.min == h.max == array[0]


def test_any_memory_layout() -> None:
    array = np.random.default_rng(0).normal(size=(40, 50, 60)).astype(np.float32)
    array.flags.writeable = False
    for view in (
        array.T,
        array[::2, :, ::-3],
        array[1:, 1:],
        np.broadcast_to(array, (2, 40, 50, 60)),
    ):
        h = histogram(view)
        assert np.array_equal(h.counts, np.histogram(view, 64)[0])
        check(h, view)


def test_negative_zeros_are_zeros() -> None:
    assert histogram(np.array([-0.0, 0.0, 1.0], np.float32)).zeros == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "bool"])
def test_keras_variables_and_tensors(dtype: str) -> None:
    import keras

    array = np.random.default_rng(0).normal(size=(30, 20)) * 3
    variable = keras.Variable(array, dtype=dtype, trainable=False)
    expected = histogram(np.asarray(variable))
    assert expected.size == 600
    for values in (variable, keras.ops.convert_to_tensor(variable)):
        h = histogram(values)
        assert np.array_equal(h.counts, expected.counts)
        assert h.mean == expected.mean


class TensorThatNumpyCannotRead:
    """As torch's are when they require a gradient."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


def test_what_numpy_cannot_read_is_left_to_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(keras.ops, "convert_to_numpy", lambda x: np.arange(3))
    assert histogram(TensorThatNumpyCannotRead(), 3).counts.tolist() == [1, 1, 1]


# --- Precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1000, 1e-3), (1e-30, 1e-32), (-1e30, 1e28), (0, 1e-25)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_deviations_and_extreme_magnitudes(offset: float, scale: float, dtype: type) -> None:
    array = np.random.default_rng(0).normal(offset, scale, 2 * CHUNK + 100).astype(dtype)
    check(histogram(array), array)


def test_a_first_estimate_of_the_mean_that_is_far_off() -> None:
    """The sample that it comes from holds none of the other values."""
    array = np.full(4 * CHUNK, 3.3, np.float32)
    for start in range(0, array.size, CHUNK):
        array[start : start + module._SAMPLE] = -10.1
    h = histogram(array)
    assert h.mean == pytest.approx(array.mean(dtype=np.float64), rel=1e-6)
    assert h.std == pytest.approx(array.std(dtype=np.float64), rel=1e-5)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [(1, 0), (0, np.nan), (-np.inf, 0), (0, 1, 2), (1.0, np.nextafter(1.0, 2.0))]
)
def test_bad_ranges(limits: Any) -> None:
    with pytest.raises(ValueError, match=r"range|unpack"):
        histogram([1.0, 2.0], range=limits)


@pytest.mark.parametrize("bins", [0, -1])
def test_too_few_bins(bins: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        histogram([1.0], bins)


def test_bins_of_another_type() -> None:
    for bins in ("auto", 2.5, [0, 1]):
        with pytest.raises(TypeError):
            histogram([1.0], bins)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1j]),
        ["a"],
        None,
        np.array([object()]),
        np.array(["2020"], "M8[Y]"),
        np.array([1], "m8[s]"),
        np.zeros(2, [("a", "f4")]),
    ],
)
def test_what_is_no_real_number(values: Any) -> None:
    with pytest.raises(TypeError, match="real numbers"):
        histogram(values)


# --- Pooled, packed, told -------------------------------------------------------------------------


@given(st.lists(arrays(), max_size=4), BINS)
def test_pooled_is_the_histogram_of_the_joined_arrays(parts: list[np.ndarray], bins: int) -> None:
    joined = np.concatenate([np.empty(0), *(part.ravel().astype(np.float64) for part in parts)])
    expected = histogram(joined, bins)
    h = pooled(iter(parts), bins)
    assert np.array_equal(h.counts, expected.counts)
    assert np.array_equal(h.edges, expected.edges)
    for name in ("min", "max", "zeros", "nans", "infs", "size"):
        actual, wanted = getattr(h, name), getattr(expected, name)
        assert actual == wanted or (math.isnan(actual) and math.isnan(wanted))
    near = {"rtol": 1e-6, "atol": 1e-6 * expected.std if expected.std > 0 else 0}
    np.testing.assert_allclose(h.mean, expected.mean, **near)
    np.testing.assert_allclose(h.std, expected.std, **near)


def test_pooled_over_chunks_and_dtypes() -> None:
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(size=CHUNK + 7).astype(np.float32),
        rng.normal(size=(3, 5)),
        np.arange(-3, 4),
        rng.normal(size=11).astype(ml_dtypes.bfloat16),
    ]
    for chosen in (parts, parts[:1], parts[::3]):
        joined = np.concatenate([part.ravel().astype(np.float64) for part in chosen])
        h = pooled(chosen, range=(-2, 2))
        counts, edges = np.histogram(joined, 64, (-2, 2))
        assert np.array_equal(h.counts, counts)
        assert np.array_equal(h.edges, edges)
        assert h.std == pytest.approx(joined.std(), rel=1e-6)


def test_packed() -> None:
    h = histogram([0.0, 1.0, 1.0, np.nan, np.inf], 2)
    packed = pack(h)
    assert packed.dtype == np.dtype("<f4")
    mean, std = np.float32(2 / 3), np.float32(np.sqrt(2) / 3)
    assert packed.tolist() == [1, 2, 0, 1, mean, std, 1, 1, 1, 5]
    assert len(pack(histogram([])).tobytes()) == 4 * (64 + 8)
    assert np.isnan(pack(histogram([]))[64:68]).all()
    assert pack(histogram([1e300, 0.0]))[65] == np.inf


def test_json() -> None:
    data = json.loads(json.dumps(histogram([0, 1, 1], 2).to_json(), allow_nan=False))
    assert data["counts"] == [1, 2]
    assert data["edges"] == [0, 0.5, 1]
    assert (data["min"], data["max"], data["zeros"], data["size"]) == (0, 1, 1, 3)
    empty = json.loads(json.dumps(histogram([np.nan]).to_json(), allow_nan=False))
    assert (empty["mean"], empty["nans"]) == (None, 1)


def test_repr_is_short_and_says_what_matters() -> None:
    text = repr(histogram(np.array([0.5, -0.5, np.nan]), 10))
    assert text.startswith("Histogram(10 bins of [-0.5, 0.5], size=3, min=-0.5, max=0.5, mean=0,")
    assert "nans=1" in text
    assert "\n" not in text


def test_a_histogram_does_not_change() -> None:
    h = histogram([1.0])
    with pytest.raises(ValueError, match="read-only"):
        h.counts[0] = 7
    with pytest.raises(AttributeError):
        h.size = 7  # type: ignore[misc]


def test_importing_imports_no_keras() -> None:
    code = (
        "import sys, numpy as np\n"
        "from kerasedit.weights.histogram import histogram\n"
        "histogram(np.ones(3)); histogram([1, 2])\n"
        "assert not {'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
