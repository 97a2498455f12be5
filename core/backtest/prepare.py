"""What a run over history stands on: its data, the period that is traded, and a model that has not seen it."""

from pathlib import Path

import msgspec
import numpy as np

from core.clock import iso
from core.compose import bundle_folder, make_features, stored_bundle
from core.config import Settings
from core.data.panel import Panel
from core.data.source import open_source
from core.data.synthetic import START_MS, synthetic_panel
from core.domain.backtest import Source
from core.domain.errors import UserError
from core.jobs import Progress
from core.models.bundle import AnyBundle, refuse_if_seen, save
from core.models.cluster import bundle as cluster
from core.models.kinds import loaded


class Request(msgspec.Struct, frozen=True):
    """What a command line asks for. `data` "": the configured replay, else the synthetic market of the seed.

    Trading starts at `start_ms` (None: after `train_bars` bars) and ends before `end_ms`; what lies before is
    history. The model learns from the `train_bars` bars before the start (None: with a start all, else those of
    the configuration)."""

    data: str = ""
    funding: Path | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    train_bars: int | None = None
    manifest: str = ""


class Prepared(msgspec.Struct, frozen=True):
    """Data, and where trading starts in it: bars before `start` are history."""

    panel: Panel
    source: Source
    start: int
    seed: int


def prepare(settings: Settings, request: Request) -> Prepared:
    """Read the data and find the period. UserError: whatever makes it unfit."""
    begin, end = request.start_ms, request.end_ms
    if begin is not None and end is not None and begin >= end:
        raise UserError(f"--from {iso(begin)} is not before --to {iso(end)}", code=2)
    seed = settings.demo.seed
    universe, demo = settings.universe, settings.demo
    data = request.data or demo.replay
    funding = request.funding or (Path(demo.funding) if demo.funding and not request.data else None)
    if data:
        panel, made_of = open_source(
            data, settings.paths.lake, funding, universe.assets, universe.bar,
            end_ms=request.end_ms, manifest=request.manifest,
        )  # fmt: skip
        name, venue, manifest = made_of.name, made_of.venue, made_of.manifest
    else:
        panel = synthetic_panel(seed, demo.market_bars, universe.assets, universe.bar_ms)
        name, venue, manifest = f"synthetic, seed {seed}", "synthetic", ""
        if request.end_ms is not None:
            panel = panel.slice(0, int(np.searchsorted(panel.ts, request.end_ms)))
            if not len(panel):
                raise UserError(f"--to {iso(request.end_ms)}: the data begins at {iso(START_MS)}", code=2)
    panel, start = _period(settings, panel, request)
    source = Source(
        name, venue, manifest, panel.content_hash, panel.assets, panel.bar_ms, int(panel.ts[start]),
        int(panel.ts[-1]),
    )  # fmt: skip
    return Prepared(panel, source, start, seed)


def _period(settings: Settings, panel: Panel, request: Request) -> tuple[Panel, int]:
    """The panel that is needed, and the row where trading starts in it."""
    train, least = request.train_bars, settings.strategy.divergence.min_bars
    if request.start_ms is None:
        start = max(settings.demo.train_bars if train is None else train, least)
        way = "fewer --train-bars, or more data"
    else:
        start = int(np.searchsorted(panel.ts, request.start_ms))
        way = "a later --from, or data that begins earlier"
        if train is not None and least <= train < start:
            panel, start = panel.slice(start - train, len(panel)), train
    if start < least:
        raise UserError(f"only {start} bars of history before the first traded one, {least} are needed: {way}")
    if len(panel) < start + 2:
        begins, ends = iso(int(panel.ts[0])), iso(int(panel.ts[-1]) + panel.bar_ms)
        at = f"bar {start}"
        if request.start_ms is not None:
            at, way = iso(request.start_ms), "an earlier --from, a later --to, or more data"
        raise UserError(f"the data ({begins} to {ends}) ends before trading starts, at {at}: {way}")
    return panel, start


def bundle_of(settings: Settings, prepared: Prepared, kind: str, progress: Progress) -> AnyBundle:
    """A bundle of that kind trained on the bars before trading starts; an earlier one of the very same data is used
    again. UserError: one that the configuration names has seen what is traded."""
    first_ms = prepared.source.first_ms
    if kind == "cluster" and settings.strategy.cluster.model:
        bundle = loaded(kind, settings.beside(settings.strategy.cluster.model))
        refuse_if_seen(bundle, first_ms)
        return bundle
    learned = prepared.panel.slice(0, prepared.start)
    folder = bundle_folder(settings, kind, "history", learned.content_hash)
    if found := stored_bundle(settings, kind, folder):
        return found
    made = _trained(settings, prepared, kind, learned, folder, progress)
    refuse_if_seen(made, first_ms)
    return made


def _trained(
    settings: Settings, prepared: Prepared, kind: str, learned: Panel, folder: Path, progress: Progress
) -> AnyBundle:
    """A new bundle. What trains it brings torch or scikit-learn, which runs without training do without."""
    source = prepared.source
    if kind == "cluster":
        from core.models.cluster.before import fit_before

        fitted = fit_before(learned, settings.train.cluster, source.name, progress, source.manifest)
        return cluster.save(folder, *fitted)
    from core.models.train import recipe_of, train

    return save(folder, *train(learned, make_features(settings), recipe_of(settings), source.name, progress))
