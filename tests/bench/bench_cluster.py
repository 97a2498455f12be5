"""Training and scoring of the cluster model, against plain PyTorch that writes its windows out. One thread each.

An epoch is a forward and a backward pass over all bars. Ours includes the one preparation of a training (log prices
to anchored frames), spread over `EPOCHS` epochs, fewer than a training has; the plain one makes its windows in each
epoch, as its forward pass says. Times are the least of a few, in turns, by the processor's clock: what else runs on
the machine counts for neither. Memory is what an epoch adds to the process at its peak, in a process of its own.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch

from core.config.settings import ClusterTraining
from core.data.synthetic import planted_market
from core.domain.market import Floats
from core.models.cluster.loss import loss, outcome
from core.models.cluster.model import ClusterModel, Windows
from core.models.cluster.score import ClusterScorer
from tests.bench.row import Row
from tests.models.small_cluster import plain, similarities

RECIPE = ClusterTraining()
W, K, EPOCHS, TURNS = RECIPE.window, RECIPE.n_clusters, 10, 4
SIZES = ((8760, 10), (2000, 100), (1000, 300))
TARGET, MEMORY, EXACT, LIVE_MS, BEND = 5.0, 2.0, 1e-5, 20.0, 1.5


def run() -> list[Row]:
    """Epochs and their memory at three sizes, growth with bars and assets, exactness, and one live bar."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*(row for size in SIZES for row in (_epoch(*size), _memory(*size))), *_growth(), _exact(), _live()]
    finally:
        torch.set_num_threads(threads)


def _logs(bars: int, assets: int) -> Floats:
    """Log prices: random walks with half of their steps in common."""
    steps = np.random.default_rng(7).normal(size=(bars, assets + 1))
    return np.ascontiguousarray(5.0 + 0.01 * (steps[:, :1] + steps[:, 1:]).cumsum(axis=0))


def _model() -> ClusterModel:
    return ClusterModel(RECIPE, np.random.default_rng(1).normal(size=(K, W)).cumsum(axis=1))


def _ours(logs: Floats) -> tuple[Callable[[], None], Callable[[], None]]:
    """The preparation, and an epoch."""
    model, earned = _model(), torch.from_numpy(np.diff(logs, axis=0, append=logs[-1:]).astype(np.float32))
    windows = Windows.of(logs, W, K)

    def epoch() -> None:
        model.zero_grad()
        loss(outcome(model.weights(windows), earned, RECIPE.cost_bps), RECIPE).backward()

    def prepare() -> None:
        Windows.of(logs, W, K)

    return prepare, epoch


def _plain(logs: Floats) -> Callable[[], None]:
    model, x = _model(), torch.from_numpy(logs.astype(np.float32))
    earned = torch.diff(x, dim=0, append=x[-1:])[W - 1 :]

    def epoch() -> None:
        model.zero_grad()
        loss(outcome(plain(model, x).weight, earned, RECIPE.cost_bps), RECIPE).backward()

    return epoch


def _least_ms(*calls: Callable[[], object], turns: int = TURNS) -> list[float]:
    """The least processor time of each call, taken in turns after one call to warm up."""
    spent = [[np.inf] * len(calls) for _ in range(turns + 1)]
    for turn in range(turns + 1):
        for i, call in enumerate(calls):
            start = process_time()
            call()
            if turn:
                spent[turn][i] = process_time() - start
    return [float(least) * 1e3 for least in np.min(spent, axis=0)]


def _epoch(bars: int, assets: int) -> Row:
    logs = _logs(bars, assets)
    prepare, epoch = _ours(logs)
    preparing, stepping, theirs = _least_ms(prepare, epoch, _plain(logs))
    ours = stepping + preparing / EPOCHS
    what = f"cluster epoch, {bars:,} bars x {assets} assets: banded product / windows written out"
    return Row(
        what, f"{ours:.1f} ms", f"{theirs:.1f} ms", theirs / ours, f">= {TARGET:g}x", theirs / ours >= TARGET
    )


def _memory(bars: int, assets: int) -> Row:
    ours, theirs = (_peak_mb(which, bars, assets) for which in ("ours", "plain"))
    what = f"memory of that epoch, {bars:,} x {assets}"
    return Row(
        what, f"{ours:.0f} MB", f"{theirs:.0f} MB", theirs / ours, f">= {MEMORY:g}x", theirs / ours >= MEMORY
    )


def _peak_mb(which: str, bars: int, assets: int) -> float:
    words = [sys.executable, "-c", f"from tests.bench.bench_cluster import peak; peak({which!r}, {bars}, {assets})"]
    return float(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def peak(which: str, bars: int, assets: int) -> None:
    """Print the MB by which one epoch, preparation included, has raised the most that this process ever held."""
    torch.set_num_threads(1)
    (_plain(_logs(100, 2)) if which == "plain" else _ours(_logs(100, 2))[1])()
    logs = _logs(bars, assets)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is held now
    before = _held_most()
    (_plain(logs) if which == "plain" else _ours(logs)[1])()
    print(json.dumps((_held_most() - before) / 1024))


def _held_most() -> int:
    """The peak of this process's memory in kB, as Linux counts it: `getrusage` counts that of its parent, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _growth() -> list[Row]:
    """Time per number (bar x asset): the largest size against the middle one, after the curve of all."""
    rows = []
    for name, sizes in (
        ("assets, 1,000 bars", [(1000, n) for n in (10, 30, 100, 200, 300, 500)]),
        ("bars, 50 assets", [(bars, 50) for bars in (1000, 2000, 4000, 8000)]),
    ):
        spent = _least_ms(*(_ours(_logs(*size))[1] for size in sizes), turns=3)
        each = [ms * 1e6 / (bars * n) for ms, (bars, n) in zip(spent, sizes, strict=True)]
        grown = [n if bars == 1000 and name.startswith("assets") else bars for bars, n in sizes]
        curve = ", ".join(f"{size}: {ms:.0f}" for size, ms in zip(grown, spent, strict=True))
        bend = each[-1] / each[len(each) // 2]
        what = f"growth with {name} (ms at {curve}): ns a number, largest / middle"
        ours, middle = f"{each[-1]:.0f} ns", f"{each[len(each) // 2]:.0f} ns"
        rows.append(Row(what, ours, middle, 1 / bend, f"bend <= {BEND:g}", bend <= BEND))
    return rows


def _exact() -> Row:
    """Similarities in single precision against windows written out in double, on prices far from 1."""
    logs, model = _logs(1200, 20) + 6.0, _model()
    found = model.similarities(Windows.of(logs, W, K)).permute(1, 2, 0).numpy()
    off = float(np.abs(found - similarities(logs, model.clusters().centroids)[0]).max())
    what = "similarities, single precision against float64: largest error"
    return Row(what, f"{off:.1e}", f"{EXACT:g}", EXACT / off, f"<= {EXACT:g}", off <= EXACT)


def _live() -> Row:
    """One live bar of 500 assets, wall time, against torch on the one window (its whole forward pass)."""
    panel, _ = planted_market(7, W + 40, (50,) * 9, 50)
    model, logs = _model(), np.log(panel.close)
    scorer = ClusterScorer(model.clusters(), panel.assets, panel.bar_ms)
    scorer.history(panel.slice(0, W + 10))
    ours, theirs = [], []
    for t in range(W + 10, len(panel)):
        bar, window = panel.bar(t), torch.from_numpy(logs[t - W + 1 : t + 1].astype(np.float32))
        start = perf_counter()
        scorer.update(bar)
        ours.append(perf_counter() - start)
        with torch.no_grad():
            start = perf_counter()
            plain(model, window)
            theirs.append(perf_counter() - start)
    mine, others = (float(np.median(spent)) * 1e3 for spent in (ours, theirs))
    what = f"live bar of 500 assets, {K} clusters, window {W}: compiled / torch"
    return Row(what, f"{mine:.2f} ms", f"{others:.2f} ms", others / mine, f"< {LIVE_MS:g} ms", mine < LIVE_MS)
