"""The sections of config.toml, as frozen types with bounds and defaults."""

import hashlib
import os
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from core.config.base import Exact, Names, Seconds, Section
from core.config.execution import Execution
from core.config.health import Health
from core.config.live import Live, Notify
from core.domain.errors import UserError
from core.strategies.params import ClusterParams, DivergenceParams

STRATEGIES = ("divergence", "zscore", "btc-eth-regime", "cluster")
"""Ours, by name. Others have a table with a `path`, or are installed."""
LEARNED = ("centroids", "threshold", "stop_threshold", "similarity_threshold", "temp", "scaling_factor")
"""What the cluster model learns, each of which can be frozen."""
MAX_SOCKET_PATH = 100  # of the 104 to 108 bytes that systems allow
BAR_MS = {"15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}


class Universe(Section):
    """What is traded: assets in the order that names the pairs (a precedes b), quoted and settled in `quote`."""

    assets: Names = Field(
        ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT"),
        min_length=2,
        max_length=500,
        description='a list of 2 to 500 different assets, like ["BTC", "ETH"]',
    )
    quote: str = Field("USDT", pattern=r"^[A-Z0-9]{2,10}$", description="a currency, like USDT")
    bar: Literal["15m", "1h", "4h", "1d"] = "1h"

    @property
    def bar_ms(self) -> int:
        """The length of a bar in milliseconds."""
        return BAR_MS[self.bar]

    @model_validator(mode="after")
    def _names(self) -> Self:
        for position, asset in enumerate(self.assets):
            if not re.fullmatch(r"[A-Z0-9]{1,15}", asset):
                raise ValueError(f"asset {asset!r} must be capital letters and digits, like BTC")
            if asset in self.assets[:position]:
                raise ValueError(f"asset {asset} is named twice")
        return self


class Venue(Section):
    """Where orders go, and how long its silence is borne."""

    name: Literal["demo", "okx-demo", "shadow", "okx"] = "demo"
    stale_after_s: Seconds = 15.0
    order_expiry_s: Seconds = 5.0
    bar_timeout_s: Seconds = 20.0
    leverage: int = Field(1, ge=1, le=125)
    margin_mode: Literal["cross"] = "cross"

    def refuse_real_money(self, live: bool = False) -> None:
        """Raise UserError where orders would move real money and nobody has said so: `live` is what says it, and
        means nothing anywhere else."""
        if self.name == "okx" and not live:
            raise UserError(
                "venue okx trades real money: say so with cockpit run --venue okx --live; "
                "--shadow decides on the same market and sends nothing"
            )
        if live and self.name != "okx":
            raise UserError(f"--live is for real money, and venue {self.name} has none: use --venue okx", code=2)


class Demo(Section):
    """The local exchange and its market: synthetic from `seed`, or the candles of `replay`."""

    seed: int = Field(7, ge=0, le=2**32 - 1)
    speed: Annotated[float, Field(gt=0)] | Literal["max"] = Field(
        1800.0, description='market seconds per second: a number above 0, or "max"'
    )
    train_bars: int = Field(2000, ge=0)
    bars: int = Field(0, ge=0)
    market_bars: int = Field(8760, ge=300, le=1_000_000)
    cash: Exact = Field(Decimal(100_000), gt=0)
    replay: str = ""
    funding: str = ""
    port: int = Field(0, ge=0, le=65535)


class Engine(Section):
    """What the engine runs."""

    strategies: Names = Field(("divergence",), min_length=1, description=f"a list of {', '.join(STRATEGIES)}")
    snapshot_hz: float = Field(5.0, ge=0.2, le=30)


class Strategy(Section):
    """The parameters of each strategy, by name. Tables of outside strategies are kept as they were written: who
    loads the strategy checks them against its own parameters (`core.config.table`)."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, dict[str, Any]]

    divergence: DivergenceParams = DivergenceParams()
    cluster: ClusterParams = ClusterParams()

    @property
    def outside(self) -> dict[str, dict[str, Any]]:
        """The tables of strategies that are not ours, by name."""
        return dict(self.__pydantic_extra__)

    def path(self, name: str) -> str:
        """The file of an outside strategy; empty: an installed one, or ours."""
        return str(self.outside.get(name, {}).get("path", ""))


class Backtest(Section):
    """What a run over history supposes of the market, by the names of the models of `core.backtest`."""

    fees: str = Field("okx-regular", min_length=1)
    slippage: str = Field("book", min_length=1)
    latency: str = Field("none", min_length=1)
    inside: Literal["adverse", "replay"] = "adverse"
    rejects: float = Field(0.0, ge=0, le=0.5)
    book: str = ""


class ClusterTraining(Section):
    """How the cluster model is made and trained, and by the walk-forward again and again.

    `threshold` .. `scaling_factor`, as in `core.models.cluster.rule`, are where learning starts; what `frozen`
    names stays there. Penalties and costs are those of the loss. The last `validation_share` of a training period
    is held back to choose the epoch; `patience` epochs without a better one end the training."""

    n_clusters: int = Field(10, ge=1, le=200)
    window: int = Field(60, ge=5, le=2000)
    threshold: float = Field(2.0, gt=0, le=20)
    stop_threshold: float = Field(4.0, gt=0, le=40)
    similarity_threshold: float = Field(0.5, gt=-1, lt=1)
    temp: float = Field(1.0, gt=0, le=100)
    scaling_factor: float = Field(5.0, gt=0, le=100)
    leverage_penalty: float = Field(1.0, ge=0)
    max_leverage: float = Field(5.0, gt=0)
    turnover_penalty: float = Field(0.5, ge=0)
    cost_bps: float = Field(10.0, ge=0, le=1000)
    train_days: int = Field(252, ge=1)
    test_days: int = Field(63, ge=1)
    epochs: int = Field(50, ge=1, le=100_000)
    lr: float = Field(0.005, gt=0, le=10)
    validation_share: float = Field(0.2, gt=0, le=0.5)
    patience: int = Field(10, ge=1)
    frozen: Names = Field((), description=f"a list of {', '.join(LEARNED)}")
    seed: int = Field(7, ge=0, le=2**32 - 1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.threshold >= self.stop_threshold:
            raise ValueError(f"threshold {self.threshold} is not below stop_threshold {self.stop_threshold}")
        for name in self.frozen:
            if name not in LEARNED:
                raise ValueError(f"frozen {name!r}: allowed is a list of {', '.join(LEARNED)}")
        return self


class Train(Section):
    """The training of each model that has parameters of its own."""

    cluster: ClusterTraining = ClusterTraining()


class Risk(Section):
    """Limits on new exposure; nothing here ever stops a reduction or a hedge. Shares are of 1, money is USDT. A
    limit of 0 USDT is none of its own: the gross of the account bounds it."""

    free_share: Exact = Field(Decimal("0.95"), gt=0, le=1)
    max_gross_usdt: Exact = Field(Decimal(50_000), gt=0)
    max_order_usdt: Exact = Field(Decimal(10_000), gt=0)
    min_notional_usdt: Exact = Field(Decimal(10), ge=0)
    max_pair_usdt: Exact = Field(Decimal(0), ge=0)
    max_asset_net_usdt: Exact = Field(Decimal(0), ge=0)
    max_asset_gross_usdt: Exact = Field(Decimal(0), ge=0)
    max_net_usdt: Exact = Field(Decimal(0), ge=0)
    max_leverage: Exact = Field(Decimal(10), gt=0, le=125)
    max_orders_per_minute: int = Field(1000, ge=1)
    max_intents_per_bar: int = Field(500, ge=1)
    max_price_gap: Exact = Field(Decimal("0.10"), gt=0, le=1)
    max_funding_per_day: Exact = Field(Decimal("0.01"), gt=0, le=1)
    maintenance_rate: Exact = Field(Decimal("0.005"), gt=0, lt=1)
    min_margin_ratio: Exact = Field(Decimal(3), ge=1)
    min_liquidation_distance: Exact = Field(Decimal("0.05"), ge=0, lt=1)
    max_daily_loss: Exact = Field(Decimal("0.10"), gt=0, le=1)
    max_drawdown: Exact = Field(Decimal("0.30"), gt=0, le=1)
    catastrophe_share: Exact = Field(Decimal("0.25"), gt=0, lt=1)
    dead_man_s: int = Field(60, ge=0, le=120, description="0, or 10 to 120 seconds")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if 0 < self.dead_man_s < 10:
            raise ValueError(f"dead_man_s {self.dead_man_s}: allowed is 0, or 10 to 120 seconds")
        return self


class Paths(Section):
    """Where state lives: everything under `home`, which only its owner may read."""

    home: Path
    socket: Path

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: object) -> object:
        """Empty means the usual place: the platform's folder for state, and a socket in it."""
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            return given
        home = Path(given.get("home") or _state_folder()).expanduser().absolute()
        return {**given, "home": home, "socket": Path(given.get("socket") or _socket(home)).expanduser().absolute()}

    @property
    def lock(self) -> Path:
        """Held by the one engine of this home."""
        return self.home / "engine.lock"

    @property
    def kill(self) -> Path:
        """Where a file of this name lies, everything is closed and the account halted."""
        return self.home / "KILL"

    @property
    def exchange(self) -> Path:
        """The local exchange's account."""
        return self.home / "exchange"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def paper(self) -> Path:
        """The account of shadow mode."""
        return self.home / "shadow.json"

    def ledger(self, venue: str) -> Path:
        """The ledger of one venue: accounts never share a book."""
        return self.home / "ledger" / f"{venue}.sqlite"

    def create(self) -> None:
        """Make home, its folders and the socket's folder, readable by the owner alone (0700)."""
        folders = (
            self.home,
            self.exchange,
            self.models,
            self.lake,
            self.logs,
            self.home / "ledger",
            self.socket.parent,
        )
        for folder in folders:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"cannot make {folder}: {error.strerror}; choose another home (COCKPIT_HOME, or paths.home)"
                ) from None
        self.home.chmod(0o700)


class Log(Section):
    """How much the engine writes to its log file."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """Everything config.toml can say. Made by `load`."""

    universe: Universe = Universe()
    venue: Venue = Venue()
    demo: Demo = Demo()
    engine: Engine = Engine()
    strategy: Strategy = Strategy()
    risk: Risk = Risk()
    execution: Execution = Execution()
    live: Live = Live()
    notify: Notify = Notify()
    backtest: Backtest = Backtest()
    train: Train = Train()
    health: Health = Health()
    paths: Paths = Field(default_factory=lambda: Paths.model_validate({}))
    log: Log = Log()

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file that was read; None: the defaults."""
        return self._file

    def beside(self, path: str) -> Path:
        """A path that the file names: relative to the folder it lies in."""
        folder = self._file.parent if self._file is not None else Path()
        return (folder / Path(path).expanduser()).absolute()

    def sourced(self, file: Path | None, origins: dict[str, str]) -> Self:
        """These settings, remembering the file and the source of each dotted key."""
        self._file, self._origins = file, origins
        return self

    def origin(self, key: str) -> str:
        """Where the value of `section.key` came from: default, the file, the variable or the option."""
        return self._origins.get(key, "default")


def _state_folder() -> str:
    return platformdirs.user_state_dir("cockpit", appauthor=False)


def _socket(home: Path) -> Path:
    """A socket in `home`; where that path is longer than the system takes, one that is derived from it."""
    usual = home / "engine.sock"
    if len(os.fsencode(usual)) <= MAX_SOCKET_PATH:
        return usual
    mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"cockpit-{os.getuid()}-{mark}" / "engine.sock"
