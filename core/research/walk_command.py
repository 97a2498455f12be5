"""`walk-forward STRATEGY` and `sweep cluster`: from a command line to a folder of this home and a document."""

import argparse
from collections.abc import Collection
from pathlib import Path

import msgspec

from core.backtest import prepare
from core.backtest.result import Result
from core.backtest.run import rule_of
from core.backtest.trials import Trials
from core.clock import random_name, stamp, wall_ms
from core.config import SEEDS, Settings, load
from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.data.source import moment, open_source
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError
from core.jobs import part, tell
from core.models import stored
from core.models.cluster.windows import bars_of
from core.research import search, walked
from core.research.cluster_walk import CLUSTER, Account, ClusterWalk
from core.research.segments import Segment, Stretches
from core.research.sweep import axes_of
from core.research.walk_forward import Kept
from core.research.walk_pairs import walk_pairs
from core.research.walk_report import write_walk

REQUEST, REPORT = "request.json", "report.html"
WALKS, SWEEPS = "walks", "sweeps"
SHORT = ("train_days", "test_days", "epochs", "seed")
"""Parameters of `[train.cluster]` with an option of their own."""


class Request(msgspec.Struct, frozen=True):
    """What was asked for, kept so that `--resume` needs nothing else."""

    strategy: str
    data: str = ""
    funding: str = ""
    manifest: str = ""
    start: str = ""
    end: str = ""
    recipe: dict[str, str] = {}
    warm: bool = False
    assets: int | None = None
    purge: int = 0
    grid: tuple[str, ...] = ()
    trials: int | None = None


def walk_forward(given: argparse.Namespace) -> str:
    """Walk forward, anew or on from `--resume`; the document, as JSON or as text. Its report lies beside it."""
    settings, groups = load(given.config), None
    request, folder = _asked(given, settings.paths.home / WALKS)
    if request.strategy == CLUSTER:
        at = _walk(request, settings, given.config)
        panel, told = at.panel, at.segments()
        _keep(request, folder)
        done = at.train(folder, part(0.05, 0.9))
        tell(0.9, "running what was decided, and what it must beat")
        played = at.played(folder, done)
        results, groups = [played.result(), *played.beside()], played.groups()
    else:
        panel, told, done, results = _pairs(request, given.config, folder)
    analyses = walked.judged(results, Trials(settings.paths.home))
    document = walked.walked(folder.name, panel, told, done, analyses)
    for file in {folder / REPORT, given.report or folder / REPORT}:
        write_walk(file, document, analyses, groups)
    content = msgspec.json.encode(document)
    stored.put(folder / "result.json", content)
    if given.json:
        return content.decode()
    return f"{walked.text(document)}\n\nreport        {given.report or folder / REPORT}"


def sweep(given: argparse.Namespace) -> str:
    """Search, anew or on from `--resume`; the document, as JSON or as text."""
    settings = load(given.config)
    request, folder = _asked(given, settings.paths.home / SWEEPS)
    at = _walk(request, settings, given.config)
    sets = search.sets_of(axes_of(request.grid), request.trials, at.recipe.seed)
    search.recipes(at.recipe, sets)
    _keep(request, folder)
    trials = Trials(settings.paths.home)
    document = search.search(at, sets, folder, folder.name, trials, part(0.05, 1.0))
    content = msgspec.json.encode(document)
    stored.put(folder / "result.json", content)
    return content.decode() if given.json else search.text(document)


def _asked(given: argparse.Namespace, home: Path) -> tuple[Request, Path]:
    """What is asked for, and the folder of it: a new one in `home`, or that of `--resume` with what was asked for
    then."""
    if given.resume:
        folder = home / given.resume
        try:
            request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=Request)
        except (OSError, msgspec.MsgspecError):
            raise UserError(f"--resume {given.resume}: nothing to go on from under {home}; start anew") from None
        if request.strategy != given.strategy:
            raise UserError(f"--resume {given.resume}: that is {request.strategy}, not {given.strategy}", code=2)
        tell(0.0, f"going on with {folder.name}")
        return request, folder
    recipe = dict(_pair(word) for word in given.set)
    recipe |= {name: str(value) for name in SHORT if (value := getattr(given, name)) is not None}
    request = Request(
        given.strategy, _whole(given.data), _whole(given.funding), given.manifest, given.start or "",
        given.end or "", recipe, given.warm, given.assets, given.purge, tuple(getattr(given, "grid", ())),
        getattr(given, "trials", None),
    )  # fmt: skip
    folder = home / f"{stamp(wall_ms())}-{given.strategy}-{random_name()[:4]}"
    return request, folder


def _keep(request: Request, folder: Path) -> None:
    """Write down what was asked for, once it is known to be possible."""
    if not (folder / REQUEST).exists():
        stored.put(folder / REQUEST, msgspec.json.encode(request))
        tell(0.0, f"{folder.name}: what is done is kept under this name, for --resume")


def _walk(request: Request, settings: Settings, config: Path | None) -> ClusterWalk:
    """The walk that is asked for, its data read."""
    settings = load(config, options=_options(request, ClusterTraining.model_fields, "strategy.cluster"))
    recipe = settings.train.cluster
    tell(0.0, "reading the data")
    panel, name, venue, manifest = _data(request, settings)
    first = 0
    if request.start:
        first_ms = moment(request.start, "--from")
        first = int((panel.ts < first_ms).sum())
    if request.assets is not None and request.assets < 1:
        raise UserError(f"--assets {request.assets}: at least 1 is needed", code=2)
    return ClusterWalk(
        panel,
        recipe,
        Account.of(settings),
        name,
        venue,
        manifest,
        first,
        request.purge,
        request.warm,
        request.assets,
    )


def _pairs(
    request: Request, config: Path | None, folder: Path
) -> tuple[Panel, tuple[Segment, ...], tuple[Kept, ...], list[Result]]:
    """The walk of a pair strategy, with the parameters and data of its backtest."""
    if request.assets is not None or "epochs" in request.recipe:
        raise UserError(f"--assets and --epochs are the cluster model's; {request.strategy} takes its universe", 2)
    rule = rule_of(request.strategy, load(config))
    if rule.model != "divergence":
        name = request.strategy
        raise UserError(f"{name} learns nothing that a walk-forward could renew: run `cockpit backtest {name}`", 2)
    own = f"strategy.{rule.table or rule.name}"
    settings = load(config, options=_options(request, ("train_days", "test_days"), own))
    days = settings.train.cluster.train_days, settings.train.cluster.test_days
    train, test = (bars_of(count, settings.universe.bar_ms) for count in days)
    tell(0.0, "reading the data")
    asked = prepare.Request(
        data=request.data,
        funding=Path(request.funding) if request.funding else None,
        start_ms=moment(request.start, "--from") if request.start else None,
        end_ms=moment(request.end, "--to") if request.end else None,
        train_bars=train + request.purge,
        manifest=request.manifest,
    )
    prepared = prepare.prepare(settings, asked)
    stretches = Stretches(train, test, request.purge)
    _keep(request, folder)
    return prepared.panel, *walk_pairs(settings, rule, prepared, stretches, folder, part(0.05, 0.95))


def _data(request: Request, settings: Settings) -> tuple[Panel, str, str, str]:
    """The panel with all assets of the data; its name, venue and manifest."""
    end_ms = moment(request.end, "--to") if request.end else None
    demo = settings.demo
    data = request.data or demo.replay
    if not data:
        universe = settings.universe
        panel = synthetic_panel(demo.seed, demo.market_bars, universe.assets, universe.bar_ms)
        stop = len(panel) if end_ms is None else int((panel.ts < end_ms).sum())
        return panel.slice(0, stop), f"synthetic, seed {demo.seed}", "synthetic", ""
    funding = Path(request.funding) if request.funding else None
    if funding is None and demo.funding and not request.data:
        funding = Path(demo.funding)
    panel, made_of = open_source(data, settings.paths.lake, funding, end_ms=end_ms, manifest=request.manifest)
    for note in panel.notes:
        tell(0.0, note)
    return panel, made_of.name, made_of.venue, made_of.manifest


def _options(request: Request, training: Collection[str], own: str) -> dict[str, str]:
    """The parameters asked for, by their keys in the configuration: those of `training` stand in `[train.cluster]`,
    the seed is that of all that is drawn, others are in the strategy's `own` table."""
    given = {key: value for key, value in request.recipe.items() if key != "seed"}
    seeds = dict.fromkeys(SEEDS, request.recipe["seed"]) if "seed" in request.recipe else {}
    return seeds | {f"{'train.cluster' if key in training else own}.{key}": value for key, value in given.items()}


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key.strip(), value.strip()


def _whole(path: str | Path | None) -> str:
    """A file by its whole path: `--resume` may stand elsewhere. A name of the lake stays a name."""
    return "" if not path else str(Path(path).absolute()) if Path(path).exists() else str(path)
