"""What goes wrong, drawn from the seed: each kind from a stream of its own, so that leaving one out leaves the
draws of the others as they were."""

from collections.abc import Iterable, Sequence
from random import Random

import msgspec

from core.domain.errors import UserError

REQUEST = {
    "lost": "a request never arrives, and its answer is waited for in vain",
    "reply-lost": "a request is carried out, its answer lost",
    "late": "a request arrives only after its sender has given up, or its expiry has passed",
    "slow": "an answer takes seconds",
    "doubled": "a request arrives again, once its expiry has passed",
    "reject": "a request is refused, by any of OKX's codes; by an ambiguous one it may have been carried out",
    "garbage": "an answer is a web page, empty, cut short or a server error; what was asked may have been done",
}
PUSH = {
    "push-lost": "a push is lost",
    "push-doubled": "a push comes twice",
    "push-late": "a push comes after later ones",
    "push-cut": "a push is cut short",
}
EVENT = {
    "drop": "a socket is cut",
    "freeze": "a socket stays open and tells nothing more",
    "mute": "a subscription falls silent on a socket that lives",
    "maintenance": "the exchange halts trading for minutes, announced or not",
    "clock": "this machine's clock steps, by seconds to a minute",
    "crash": "the process dies, at any point between two effects, also as it starts; what was not written is lost",
    "disk-full": "the disk takes no more for a while",
    "disk-slow": "each write takes up to a second for a while",
    "thin": "the books hold little: orders fill in part",
    "adl": "the exchange takes a part of a position away (auto-deleveraging)",
    "liquidation": "the exchange closes everything at the mark",
}
MARKET = {
    "jump": "a price jumps by up to a third, and stays there",
    "gap": "an asset is not traded for some bars",
    "delist": "an asset is not traded any more: no bar, no order; what is held of it is settled at the mark",
}
KINDS = {**REQUEST, **PUSH, **EVENT, **MARKET}

RATES = {
    **dict.fromkeys(REQUEST, 0.01),
    **dict.fromkeys(PUSH, 0.02),
    **{"drop": 3.0, "freeze": 1.0, "mute": 4.0, "maintenance": 0.5, "clock": 1.0, "crash": 4.0, "disk-full": 0.3},
    **{"disk-slow": 1.0, "thin": 6.0, "adl": 0.5, "liquidation": 0.05},
    **{"jump": 0.5, "gap": 1.0, "delist": 0.05},
}
"""How often: of requests and pushes a share, of the rest so many a day."""

READING = 0.2
"""Requests that only read meet faults this much more seldom than those that change something."""

AMBIGUOUS = ("50001", "50004", "50013", "50026")
ANY = (*AMBIGUOUS, "50005", "50011", "50014", "50061", "51000", "51001")
PLACING = (
    *ANY, "51004", "51005", "51006", "51008", "51010", "51020", "51023", "51024", "51027", "51028", "51029",
    "51046", "51113", "51119", "51120", "51121", "51127", "51131", "51136", "51137", "51138", "51149", "51155",
    "51169", "51174", "51201", "51202", "59000",
)  # fmt: skip
CANCELLING = (*ANY, "51405", "51410")
STOPPING = (*ANY, "51008", "51020", "51023", "51121", "51169", "51278", "51280", "51288", "51302", "51303")
CODES = {
    "trade/order": PLACING,
    "trade/cancel-order": CANCELLING,
    "trade/order-algo": STOPPING,
    "trade/cancel-algos": CANCELLING,
}
"""What a request of each path may be refused with (OKX's documentation, error codes of public, trade and account):
not what would be a lie, as that a resting order has been cancelled already."""


def kinds_of(text: str) -> tuple[str, ...]:
    """`all`, `none`, or a list of kinds; UserError names what is unknown."""
    if text == "all":
        return tuple(KINDS)
    if text in ("none", ""):
        return ()
    asked = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in asked:
        if name not in KINDS:
            raise UserError(f"fault {name!r}: not known; name all, none, or some of {', '.join(KINDS)}")
    return asked


class Fate(msgspec.Struct):
    """What becomes of one request: `carried_out` after `up` seconds (None: never), once more after `again`; the
    answer takes `down` (None: lost) and is `code`d or `spoiled` instead of what was said. `cut`: the sender sees
    its connection go at once, wherever the request is then."""

    up: float | None
    down: float | None
    again: float | None = None
    code: str = ""
    spoiled: str = ""
    executed: bool = True
    cut: bool = False


class Faults:
    """Draws. Nothing goes wrong unless `on`."""

    def __init__(self, seed: int, kinds: Iterable[str], rates: dict[str, float] | None = None) -> None:
        self.on = True
        self.kinds = frozenset(kinds)
        self._rates = RATES | (rates or {})
        self._chance = {kind: Random(f"{seed} {kind}") for kind in (*KINDS, "line")}
        self.count: dict[str, int] = dict.fromkeys(sorted(self.kinds), 0)

    def of(self, kind: str) -> Random:
        """The stream of chance of a kind."""
        return self._chance[kind]

    def met(self, kind: str) -> None:
        self.count[kind] = self.count.get(kind, 0) + 1

    def _strikes(self, kind: str, share: float = 1.0) -> bool:
        if kind not in self.kinds:
            return False
        struck = self._chance[kind].random() < self._rates[kind] * share
        if struck and self.on:
            self.met(kind)
        return struck and self.on

    def latency(self) -> float:
        """Seconds one way: a few milliseconds, at times a hundred."""
        return 0.002 + self._chance["line"].expovariate(1 / 0.012)

    def request(self, changes: bool, codes: Sequence[str]) -> Fate:
        """The fate of a request; `changes`: not only reads; `codes`: what it may be refused with."""
        fate = Fate(self.latency(), self.latency())
        share = 1.0 if changes else READING
        assert fate.up is not None and fate.down is not None
        if self._strikes("slow", share):
            fate.down += self.of("slow").uniform(0.5, 15.0)
        if changes and self._strikes("doubled"):
            fate.again = self.of("doubled").uniform(0.0, 30.0)
        if self._strikes("late", share):
            fate.cut = self.of("late").random() < 0.5
            fate.up += self.of("late").uniform(0.5, 10.0 if fate.cut else 40.0)
        if self._strikes("reply-lost", share):
            fate.down = None
            fate.cut = fate.cut or self.of("reply-lost").random() < 0.5
        if codes and self._strikes("reject"):
            fate.code = self.of("reject").choice(codes)
            fate.executed = fate.code in AMBIGUOUS and self.of("reject").random() < 0.5
        if self._strikes("garbage", share):
            fate.spoiled = self.of("garbage").choice(("html", "empty", "cut", "500", "502", "504"))
            fate.executed = fate.executed and self.of("garbage").random() < 0.5
        if self._strikes("lost", share):
            fate.up = None
        return fate

    def push(self, account: bool) -> str:
        """What befalls a push ("" nothing): one of the account more often than one of the market."""
        share = 1.0 if account else 0.02
        return next((kind for kind in PUSH if self._strikes(kind, share)), "")

    def next_event(self, kind: str) -> float:
        """Seconds until the next event of that kind; infinite where it is not asked for."""
        rate = self._rates[kind] if kind in self.kinds else 0.0
        return self._chance[kind].expovariate(rate / 86_400) if rate else float("inf")
