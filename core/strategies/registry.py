"""Strategies by name: ours, and those that an installed package offers under `cockpit.strategies`."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points

import msgspec

from core.domain.account import Holdings
from core.domain.decision import Decision, View
from core.domain.errors import UserError
from core.strategies import divergence
from core.strategies.params import DivergenceParams

Decide = Callable[[View, Holdings, DivergenceParams], Decision]
Bounds = Callable[[View, int, DivergenceParams], tuple[float, float]]


class Strategy(msgspec.Struct, frozen=True):
    """A rule, and whether it needs a model.

    `bounds` gives the stop and target of a pair that is opened by hand."""

    name: str
    decide: Decide
    bounds: Bounds
    needs_model: bool


OURS = (
    Strategy("divergence", divergence.decide, divergence.bounds, True),
    Strategy("zscore", partial(divergence.decide, name="zscore"), divergence.bounds, False),
)


def strategy(name: str) -> Strategy:
    """The strategy of that name; raises UserError naming those there are."""
    known = {rule.name: rule for rule in OURS}
    for entry in entry_points(group="cockpit.strategies"):
        known.setdefault(entry.name, entry.load())
    if name not in known:
        raise UserError(f"strategy {name!r} is not known; there are {', '.join(sorted(known))}", code=2)
    return known[name]
