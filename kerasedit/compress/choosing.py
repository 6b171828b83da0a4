"""Which channels go, when it is said how many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import EditError
from .costs import Cost
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


def by_cost(
    channels: Channels,
    groups: Sequence[Group],
    scores: np.ndarray,
    cost: Cost,
    share: float,
    choose: Callable[[float], np.ndarray],
) -> np.ndarray:
    """The channels that go so that a share of a cost stays, or hardly less.

    Args:
        share: of the cost that is wanted.
        choose: the channels that go for a fraction of them.

    Raises:
        EditError: it cannot be reached.
    """
    wanted = share * cost.total
    low, high = 0.0, 1.0
    few, best = choose(low), choose(high)
    least = cost.left(best)
    if least > wanted:
        raise EditError(
            f"Only {cost.total - least:,} of {cost.total:,} {cost.noun} can go with channels of these "
            f"layers, so that {least / cost.total:.1%} are left at the least, not {share:.1%}. Name more "
            "layers."
        )
    for _ in range(20):
        middle = (low + high) / 2
        gone = choose(middle)
        if cost.left(gone) <= wanted:
            high, best = middle, gone
        else:
            low, few = middle, gone
    # Groups of one size come to lose one more at the same fraction: as many as may do not yet.
    keep, most, found = 0, len(groups), best
    while keep < most:
        number = (keep + most + 1) // 2
        gone = best.copy()
        for group in groups[:number]:
            gone[group.numbers] = few[group.numbers]
        if cost.left(gone := _with_one_each(channels, gone, scores)) <= wanted:
            keep, found = number, gone
        else:
            most = number - 1
    return found


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
