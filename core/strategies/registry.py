"""Strategies by name: ours, those of installed packages (entry point group `cockpit.strategies`), and those of
files that config.toml names (`path` in the table `[strategy.NAME]`). All are the same thing: a `Strategy`.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

import msgspec

from core.config import Settings, installed, table
from core.domain.account import Holdings
from core.domain.decision import Decision, View
from core.domain.errors import UserError
from core.domain.instrument import Pair
from core.domain.market import Bar
from core.features.pairs import FeatureParams, Frame, PairFeatures
from core.models.cluster.bundle import TRAIN, ClusterBundle
from core.strategies import cluster, divergence
from core.strategies.params import ClusterParams, DivergenceParams, Params


class Features(Protocol):
    """What a strategy sees the market through, fed with closed bars in order: a `PairFeatures`, or one's own.

    `names` (F) of the columns, `hash` of their definition; after `warmup` bars a fresh start cannot be told from
    one that has run for ever. It cannot know the future: `update` gets one bar at a time."""

    @property
    def assets(self) -> tuple[str, ...]: ...
    @property
    def pairs(self) -> tuple[Pair, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def hash(self) -> str: ...
    @property
    def warmup(self) -> int: ...

    def update(self, bar: Bar) -> Frame: ...


Decide = Callable[[View, Holdings, Any], Decision]
Bounds = Callable[[View, int, Any], tuple[float, float]]
MakeFeatures = Callable[[tuple[str, ...], Any, int], Features]
Kind = Literal["", "divergence", "cluster"]


def pair_features(assets: tuple[str, ...], params: Params, bar_ms: int) -> PairFeatures:
    """The features of all pairs, with the windows that `params` name; those that it does not have are the usual."""
    named = {name: getattr(params, name) for name in FeatureParams.__struct_fields__ if hasattr(params, name)}
    return PairFeatures(assets, FeatureParams(**named), bar_ms)


def untrained(assets: tuple[str, ...], params: Params, bar_ms: int) -> Features:
    """No features without a model: see `served`."""
    raise UserError(f"the strategy sees the market through a model: train one with `{TRAIN}`")


def usual_bounds(view: View, row: int, params: Params) -> tuple[float, float]:
    """The stop and target of a rule that says nothing of its own."""
    return 0.06, 0.05


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and what it works with. An outside package offers one as its entry point, a file as `STRATEGY`.

    `decide(view, holdings, params)` must be pure: what it remembers is in the holdings. `params` is the type of its
    parameters, which config.toml holds in `[strategy.TABLE]` (`table`; empty: its name). `features(assets, params,
    bar_ms)` makes what it sees, with its warm-up. `model`: the kind of bundle it needs; with "divergence" the
    view's probabilities are those of the model, else they are 1; with "cluster" its features are what the model
    says of each asset. `bounds(view, row, params)`: stop and target of a pair opened by hand. `assets`:
    those without which it makes no sense."""

    name: str
    decide: Decide
    params: type[Params] = DivergenceParams
    features: MakeFeatures = pair_features
    model: Kind = ""
    bounds: Bounds = usual_bounds
    table: str = ""
    assets: tuple[str, ...] = ()

    def params_of(self, settings: Settings) -> Params:
        """Its parameters, as config.toml, environment and options give them. UserError names what is wrong."""
        missing = [asset for asset in self.assets if asset not in settings.universe.assets]
        if missing:
            raise UserError(
                f"strategy {self.name} trades {', '.join(self.assets)}: add {missing[0]} to universe.assets"
            )
        return table(settings, self.table or self.name, self.params)

    def features_of(self, settings: Settings) -> Features:
        """Its features of the configured universe, fresh."""
        universe = settings.universe
        return self.features(universe.assets, self.params_of(settings), universe.bar_ms)


OURS = (
    Strategy(name="divergence", decide=divergence.decide, bounds=divergence.bounds, model="divergence"),
    Strategy(
        name="zscore",
        decide=partial(divergence.decide, name="zscore"),
        bounds=divergence.bounds,
        table="divergence",
    ),
    Strategy(
        name="btc-eth-regime",
        decide=partial(divergence.decide, name="btc-eth-regime", only=("BTC/ETH", "ETH/BTC")),
        bounds=divergence.bounds,
        table="divergence",
        assets=("BTC", "ETH"),
    ),
    Strategy(name="cluster", decide=cluster.decide, params=ClusterParams, features=untrained, model="cluster"),
)
"""`zscore` is the divergence rule without its model; `btc-eth-regime` is that on the one pair, a baseline."""


def served(rule: Strategy, bundle: ClusterBundle) -> Strategy:
    """`rule`, seeing the market through `bundle`; its features raise UserError for another universe."""

    def features(assets: tuple[str, ...], params: Params, bar_ms: int) -> Features:
        return cluster.ClusterFeatures(bundle, assets, bar_ms)

    return msgspec.structs.replace(rule, features=features)


def strategy(name: str, settings: Settings | None = None, beside: Sequence[str] = ()) -> Strategy:
    """The strategy of that name; `settings` may name its file. Raises UserError with those there are, and what else
    could be asked for `beside` them."""
    if settings is not None and (file := settings.strategy.path(name)):
        return _checked(name, _of_file(name, settings.beside(file)), file)
    for rule in OURS:
        if rule.name == name:
            return rule
    if name in (offered := installed()):
        return _checked(name, offered[name].load(), f"entry point {name}")
    known = [*(rule.name for rule in OURS), *sorted(offered), *beside]
    raise UserError(f"strategy {name!r} is not known; there are {', '.join(known)}", code=2)


def _of_file(name: str, file: Path) -> object:
    """`STRATEGY` of a module, or of a package: a folder with an `__init__.py`."""
    start = file / "__init__.py" if file.is_dir() else file
    if not start.is_file():
        raise UserError(
            f"strategy.{name}.path = {str(file)!r}: no such file; give a .py file or a package's folder"
        )
    module = _imported(f"cockpit_strategy_{name.replace('-', '_')}", start)
    if not hasattr(module, "STRATEGY"):
        raise UserError(f"{file}: holds no STRATEGY; define one: STRATEGY = Strategy(name={name!r}, decide=...)")
    return module.STRATEGY


def _imported(name: str, start: Path) -> ModuleType:
    folder = [str(start.parent)] if start.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=folder)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Its own parts import each other by it.
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"{start}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _checked(name: str, found: object, source: str) -> Strategy:
    """What an outsider offers, if it is a strategy of that name."""
    if not isinstance(found, Strategy):
        raise UserError(f"{source}: offers a {type(found).__name__}, not a core.strategies.registry.Strategy")
    if found.name != name:
        raise UserError(f"{source}: is named {found.name!r}; call it by that name")
    return found
