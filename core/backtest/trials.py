"""Every run ever made on a data set, counted: who looks for the best of many must say of how many.

One SQLite file for all data sets, rows are added and never changed (the file itself refuses it). A run is written
in one transaction that is on the disk before it is told: a crash leaves all of it or nothing, and two processes
wait for each other. The same strategy, parameters, engine, assumptions, assets, period and seed count once.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from core.backtest.metrics import growth, sharpe
from core.backtest.result import Result
from core.domain.backtest import Source
from core.domain.errors import UserError
from core.domain.market import Floats

FOLDER = "trials"
"""Under the home of the settings."""
WAIT_S = 60.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    data TEXT NOT NULL, key TEXT NOT NULL, sharpe REAL NOT NULL, bar_ms INTEGER NOT NULL, strategy TEXT NOT NULL,
    engine TEXT NOT NULL, params TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    PRIMARY KEY (data, key)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS kept BEFORE DELETE ON trials BEGIN SELECT RAISE(ABORT, 'trials are kept'); END;
CREATE TRIGGER IF NOT EXISTS fixed BEFORE UPDATE ON trials BEGIN SELECT RAISE(ABORT, 'trials are kept'); END;
"""
ADD = "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (data, key) DO NOTHING"


class Trial(msgspec.Struct, frozen=True):
    """One run, as far as it counts. `sharpe` is per bar, 0 where it is not defined (nothing was traded)."""

    strategy: str
    engine: str
    params: dict[str, float | int | str]
    assumptions: dict[str, str]
    source: Source
    seed: int
    sharpe: float

    @property
    def key(self) -> str:
        """A hash over everything that makes it another run than the others on the same data."""
        source = self.source
        what = (self.strategy, self.engine, self.params, self.assumptions, self.seed)
        where = (source.assets, source.bar_ms, source.first_ms, source.last_ms)
        return hashlib.sha256(msgspec.json.encode((what, where), order="deterministic")).hexdigest()


def trial(result: Result) -> Trial:
    """What is counted of `result`."""
    return Trial(
        strategy=result.strategy,
        engine=result.engine,
        params=result.params,
        assumptions=result.assumptions,
        source=result.source,
        seed=result.seed,
        sharpe=sharpe(growth(result.equity), 1.0) or 0.0,
    )


class Trials:
    """The trials kept under `home` (`settings.paths.home`)."""

    def __init__(self, home: Path) -> None:
        self.path = home / FOLDER / "trials.sqlite"

    def record(self, trials: Iterable[Trial]) -> int:
        """Counts `trials`, all or none; returns how many were new. UserError if they cannot be written."""
        rows = [
            (_data(t.source), t.key, t.sharpe, t.source.bar_ms, t.strategy, t.engine,
             msgspec.json.encode(t.params, order="deterministic").decode(), t.source.first_ms, t.source.last_ms)
            for t in trials
        ]  # fmt: skip
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(self._open()) as file:
                file.execute("BEGIN IMMEDIATE")
                before = file.total_changes
                file.executemany(ADD, rows)
                new = file.total_changes - before
                file.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"cannot count this run in {self.path}: {error}; make room or give it back its rights"
            ) from None
        return new

    def sharpes(self, source: Source) -> Floats:
        """(trials,) Sharpe ratios of every trial on the data of `source`, per bar of its length, in no order."""
        if not self.path.exists():
            return np.zeros(0)
        try:
            with closing(self._open()) as file:
                rows = file.execute("SELECT sharpe, bar_ms FROM trials WHERE data = ?", (_data(source),)).fetchall()
        except sqlite3.Error as error:
            raise UserError(f"cannot read the trials in {self.path}: {error}; restore it from a backup") from None
        table = np.array(rows, np.float64).reshape(-1, 2)
        return np.asarray(table[:, 0] * np.sqrt(source.bar_ms / table[:, 1]))

    def _open(self) -> sqlite3.Connection:
        """The file with its table. Its journal is the plain rollback one: it is safe at any moment, also for the
        first two processes that make the file at once."""
        file = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        file.execute("PRAGMA synchronous = FULL")
        file.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
        return file


def _data(source: Source) -> str:
    """What names the data: the hash of its manifest, or of the panel where it has none."""
    return source.manifest or source.content
