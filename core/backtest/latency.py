"""How long an order travels before it meets the book, in market milliseconds.

`none`; a number of milliseconds; or `MEDIAN~SPREAD`, log-normal with that median and that deviation of its
logarithm, drawn from a seed (delays of a network have such a tail).
"""

from collections.abc import Callable
from math import exp, log
from random import Random

from core.domain.errors import UserError

Latency = Callable[[], int]


def latency(name: str, seed: int) -> Latency:
    """A source of delays, as the module says."""
    if name == "none":
        return lambda: 0
    median, _, spread = name.partition("~")
    try:
        middle, width = float(median), float(spread or 0)
        if not (0 < middle < 60_000 and 0 <= width <= 3):
            raise ValueError
    except ValueError:
        raise UserError(
            f"latency {name!r}: none, milliseconds below 60000, or MEDIAN~SPREAD, like 120~0.5"
        ) from None
    chance = Random(seed)
    return lambda: round(exp(chance.gauss(log(middle), width)))
