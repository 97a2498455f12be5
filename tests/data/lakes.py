"""Data sets to write into lakes, and stores that break."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from longtable import OHLCV

from core.data.lake import Lake, Mode
from core.data.manifest import Manifest
from core.data.panel import Panel
from core.data.store import Store
from core.data.tables import Rows
from core.domain.errors import UserError


def candles_in(panel: Panel, start: int = 0, stop: int | None = None) -> Rows:
    """The valid bars start .. stop-1 of a panel as checked rows."""
    part = panel.slice(start, len(panel) if stop is None else stop)
    t, i = np.nonzero(part.valid)
    columns = {name: getattr(part, name)[t, i] for name in OHLCV}
    return Rows("test", part.assets, part.assets, part.ts[t], i, columns)


def rates_in(panel: Panel, start: int = 0, stop: int | None = None) -> Rows:
    """The rates settled in those bars."""
    part = panel.slice(start, len(panel) if stop is None else stop)
    t, i = np.nonzero(np.isfinite(part.funding_rate))
    hours = part.funding_period_ms[t, i] / 3_600_000
    return Rows("test", part.assets, part.assets, part.ts[t], i, {"rate": part.funding_rate[t, i], "hours": hours})


def keep(
    lake: Lake, panel: Panel, start: int = 0, stop: int | None = None, mode: Mode = Mode.CREATE, name: str = "perp"
) -> Manifest:
    """Write those bars, and the rates settled in them."""
    candles, rates = candles_in(panel, start, stop), rates_in(panel, start, stop)
    return lake.write(name, candles, panel.bar_ms, rates, venue="okx", mode=mode)


def refusal(call: Callable[[], object], code: int = 1) -> str:
    """The one line with which something is refused."""
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.code == code and "\n" not in str(caught.value)
    return str(caught.value)


class Crash(BaseException):
    """The process dies: nothing that handles errors may catch it."""


class Failing(Store):
    """A store whose `at`-th change does not happen: `error` is raised in its place (0: none fails)."""

    def __init__(self, store: Store, at: int, error: BaseException) -> None:
        super().__init__(store.root)
        self.store, self.at, self.error, self.changes = store, at, error, 0

    def read(self, path: str) -> bytes:
        return self.store.read(path)

    def files(self, folder: str = "") -> list[str]:
        return self.store.files(folder)

    def alone(self, name: str) -> AbstractContextManager[None]:
        return self.store.alone(name)

    def put(self, path: str, data: bytes) -> None:
        self._step()
        self.store.put(path, data)

    def remove(self, path: str) -> None:
        self._step()
        self.store.remove(path)

    def _step(self) -> None:
        self.changes += 1
        if self.changes == self.at:
            raise self.error
