"""From the configuration to what trades by it: features, traders, limits. For every run, live or not."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import msgspec

from core.config import Settings
from core.data.synthetic import synthetic_panel
from core.domain.account import Holdings
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.execution.risk import INFINITY, Limits
from core.features.pairs import PairFeatures
from core.matching.listing import swap
from core.models.bundle import AnyBundle, Bundle, check_features, check_universe
from core.models.cluster.bundle import ClusterBundle
from core.models.kinds import loaded
from core.strategies.registry import Strategy, pair_features, served, strategy
from core.trader import Trader


def load_compiled(settings: Settings, rules: Sequence[Strategy], bundles: Mapping[str, AnyBundle]) -> None:
    """Let each rule decide once on a made-up bar, with the bundle of its kind: before the market is listened to,
    not within a bar of it.

    Compiled code is loaded at its first call, in most of a second; where it is new, it is compiled, in many."""
    universe = settings.universe
    panel = synthetic_panel(1, 2, universe.assets, universe.bar_ms)
    instruments = {spec.id: spec for spec in (swap(asset, 100.0) for asset in universe.assets)}
    limits = make_limits(settings, Decimal(0))
    for rule in rules:
        trader = make_trader(settings, rule, bundles.get(rule.model), instruments, limits)
        view = trader.warm(panel.bar(0))
        rule.decide(view, Holdings((), {}, {}, Decimal(0)), trader.params)


def make_limits(settings: Settings, taker: Decimal) -> Limits:
    """The limits of the risk gate, with the account's own fee rate."""
    risk = settings.risk
    return Limits(
        free_share=risk.free_share,
        max_gross=risk.max_gross_usdt,
        max_order=risk.max_order_usdt,
        min_notional=risk.min_notional_usdt,
        leverage=Decimal(settings.venue.leverage),
        taker=taker,
        max_pair=risk.max_pair_usdt or INFINITY,
        max_asset_net=risk.max_asset_net_usdt or INFINITY,
        max_asset_gross=risk.max_asset_gross_usdt or INFINITY,
        max_net=risk.max_net_usdt or INFINITY,
        max_leverage=risk.max_leverage,
        max_orders_minute=risk.max_orders_per_minute,
        max_intents_bar=risk.max_intents_per_bar,
        max_price_gap=risk.max_price_gap,
        max_funding=risk.max_funding_per_day,
        maintenance_rate=risk.maintenance_rate,
        min_margin_ratio=risk.min_margin_ratio,
        min_liquidation_distance=risk.min_liquidation_distance,
        max_daily_loss=risk.max_daily_loss,
        max_drawdown=risk.max_drawdown,
        max_slice=min(settings.execution.slice_usdt, settings.execution.max_unhedged_usdt),
    )


def budget_of(settings: Settings, rule: Strategy) -> Decimal:
    """What `rule` may hold, gross: its budget, else an equal share of what the other strategies leave of the
    account's limit. UserError where the budgets exceed that."""
    together = settings.engine.strategies
    names = together if rule.name in together else (rule.name,)
    running = {name: rule if name == rule.name else strategy(name, settings) for name in names}
    most = settings.risk.max_gross_usdt
    given = {name: Decimal(repr(other.params_of(settings).budget_usdt)) for name, other in running.items()}
    fixed = {name: budget for name, budget in given.items() if budget.is_finite()}
    left = most - sum(fixed.values(), Decimal(0))
    if left < 0:
        told = ", ".join(f"{name} {budget}" for name, budget in fixed.items())
        raise UserError(f"the budgets ({told}) exceed risk.max_gross_usdt {most}: lower them, or raise that")
    return fixed[rule.name] if rule.name in fixed else left / (len(given) - len(fixed))


def bundle_folder(settings: Settings, kind: str, run: str, data: str) -> Path:
    """Where a `run` (demo, history) keeps the bundle of that kind which it has trained on `data` (a hash): other
    data, another seed or other parameters train another one."""
    section = settings.train.cluster if kind == "cluster" else settings.strategy.divergence
    made_of = f"{data} {kind} {settings.demo.seed} {section.model_dump_json()}"
    return settings.paths.models / f"{run}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def stored_bundle(settings: Settings, kind: str, folder: Path) -> AnyBundle | None:
    """A bundle of that kind in `folder` that can score the configured universe; None: there is none.

    One that was damaged, or made for other features, is no loss: the data to train it again is at hand."""
    for path in sorted(folder.glob(f"{kind}-*.safetensors")):
        with suppress(UserError):
            bundle = loaded(kind, path)
            check_universe(bundle, settings.universe.assets, settings.universe.bar_ms)
            if isinstance(bundle, Bundle):
                features = make_features(settings)
                check_features(bundle, features.names, features.hash)
            return bundle
    return None


def make_features(settings: Settings) -> PairFeatures:
    """The features of the configured universe on which the divergence model is trained."""
    universe = settings.universe
    return pair_features(universe.assets, settings.strategy.divergence, universe.bar_ms)


def make_trader(
    settings: Settings,
    rule: Strategy,
    bundle: AnyBundle | None,
    instruments: Mapping[str, Instrument],
    limits: Limits,
) -> Trader:
    """A trader of one strategy, with a bundle of its kind; one of another universe, or whose features are not
    today's, is refused here."""
    limits = msgspec.structs.replace(limits, budget=budget_of(settings, rule))
    if rule.model and bundle is None:
        raise UserError(f"strategy {rule.name} needs a model: train one with `cockpit train {rule.model}`")
    if isinstance(bundle, ClusterBundle) and rule.model == "cluster":
        rule = served(rule, bundle)
    params, features = rule.params_of(settings), rule.features_of(settings)
    if rule.model != "divergence":
        return Trader(rule, params, features, None, instruments, limits)
    assert isinstance(bundle, Bundle), bundle
    check_features(bundle, features.names, features.hash)
    check_universe(bundle, settings.universe.assets, settings.universe.bar_ms)
    return Trader(rule, params, features, bundle, instruments, limits)
