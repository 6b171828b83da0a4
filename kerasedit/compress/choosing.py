"""Which channels go, when it is said how many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import EditError
from .groups import Channels, Group


def by_fraction(
    channels: Channels,
    groups: Sequence[Group],
    scores: np.ndarray,
    fraction: float,
    multiple_of: int,
    together: bool,
) -> np.ndarray:
    """The channels that go: those with the lowest scores, of each group or of all `together`.

    Each group keeps at least one, and as many that its layers have multiples where that is asked.

    Returns:
        For each number whether the channel goes.
    """
    gone = np.zeros(len(channels.number), bool)
    if together:
        every = np.concatenate([group.numbers for group in groups])
        lowest = every[np.argsort(scores[every], kind="stable")]
        gone[lowest[: _rounded(fraction * len(every))]] = True
        numbers = [int(gone[group.numbers].sum()) for group in groups]
    else:
        numbers = [_rounded(fraction * len(group.numbers)) for group in groups]
    gone[:] = False
    for group, number in zip(groups, numbers, strict=True):
        stays = _rounded_up(channels, group, len(group.numbers) - number, multiple_of)
        order = group.numbers[np.argsort(scores[group.numbers], kind="stable")]
        gone[order[: len(order) - stays]] = True
    return _with_one_each(channels, gone, scores)


def by_params(
    channels: Channels,
    total: int,
    share: float,
    choose: Callable[[float], np.ndarray],
) -> np.ndarray:
    """The channels that go so that a share of the parameters stays, or hardly less.

    Args:
        total: how many parameters there are.
        share: of them that is wanted.
        choose: the channels that go for a fraction of them.

    Raises:
        EditError: it cannot be reached.
    """
    wanted = total - share * total
    low, high = 0.0, 1.0
    best = choose(high)
    most = channels.params_less(best)
    if most < wanted:
        raise EditError(
            f"Only {most:,} of {total:,} parameters can go with channels of these layers, so that "
            f"{(total - most) / total:.1%} are left at the least, not {share:.1%}. Name more layers."
        )
    for _ in range(20):
        middle = (low + high) / 2
        gone = choose(middle)
        if channels.params_less(gone) >= wanted:
            high, best = middle, gone
        else:
            low = middle
    return best


def _rounded(number: float) -> int:
    return math.floor(number + 0.5)


def _rounded_up(channels: Channels, group: Group, stays: int, multiple: int) -> int:
    """How many channels stay so that each layer that makes them has a multiple of a number."""
    step = 1
    for layer in group.makers:
        own = int((channels.makers[layer] == group.numbers[0]).sum())
        step = math.lcm(step, multiple // math.gcd(multiple, own))
    return min(len(group.numbers), max(1, math.ceil(stays / step) * step))


def _with_one_each(channels: Channels, gone: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Keeps the best channel of every axis that would be empty."""
    for numbers in channels.empties(gone):
        if gone[numbers].all():
            gone[numbers[np.nanargmax(scores[numbers])]] = False
    return gone
