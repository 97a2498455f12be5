"""Tells who is not at the terminal: fills, halts, repairs, alarms and a summary a day, as messages of few words.

The engine only puts lines into a bounded queue. A process of its own (`core.engine.messenger`) knows the addresses,
which hold secrets, and does what may block; if it dies or is slow, the queue forgets its oldest lines and says so.
"""

import asyncio
import contextlib
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from core.backtest.statistics import profit_interval
from core.clock import iso
from core.config.live import Notify
from core.config.secrets import SECRET_NAMES, notify_urls
from core.domain.message import Answer, Message
from core.domain.snapshot import LogLine
from core.engine.narrator import describe
from core.execution.journal import Journal
from core.portfolio.books import Books
from core.portfolio.events import Accepted, AnyEvent, Filled, Killed, Ramped, Repaired, Stepped, Switched

URGENT = frozenset({"halts", "alarms"})
"""What does not wait for others to be told with."""
KEPT = 500
"""Lines that wait to be told; the oldest give way."""
SHOWN = 12
"""Lines of one kind in a message; the rest is counted."""
GATHER_S = 3.0
"""How long a message waits for what belongs with it: the fills of a pair come together."""
URGENT_S = 5.0
"""Seconds between two messages, however urgent."""
ANSWER_S = 60.0
FAREWELL_S = 5.0
DAY_MS = 86_400_000

KINDS: dict[type[AnyEvent], str] = {
    Filled: "fills",
    Switched: "halts",
    Killed: "halts",
    Repaired: "repairs",
    Accepted: "repairs",
    Ramped: "alarms",
}
"""Of which kind the ledger's events are; alarms are also all lines that are told as bad."""


class Note(msgspec.Struct, frozen=True):
    """One line to tell, at market time `ts`."""

    kind: str
    ts: int
    text: str


def digest(mode: str, notes: Sequence[Note], lost: int = 0) -> Message:
    """Many lines as one message: how many of what in the title, the latest of each kind in the body."""
    counted = Counter(note.kind for note in notes)
    words = (f"{n} {kind if n > 1 else kind.removesuffix('s')}" for kind, n in counted.items() if kind != "summary")
    title = ", ".join(words) or "summary of the day"
    lines = []
    for kind in counted:
        mine = [note for note in notes if note.kind == kind]
        if len(mine) > SHOWN:
            lines.append(f"... {len(mine) - SHOWN} earlier {kind}")
        lines += [f"{iso(note.ts)} {note.text}" for note in mine[-SHOWN:]]
    if lost:
        lines.append(f"{lost} lines were too many to tell: see the log")
    return Message(f"cockpit {mode}: {title}", "\n".join(lines))


class Day:
    """What a day has brought, from the books at its beginning and its end."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._begin()

    def _begin(self) -> None:
        books = self._books
        self._steps = max(len(books.curve) - 1, 0)
        self._before = (books.fills, books.round_trips, books.fees, books.funding)

    def ended(self, ts: int) -> str:
        """The summary, if a bar that closed at `ts` has ended a day of UTC; empty if not. A profit is told with its
        interval or not at all."""
        curve = self._books.curve
        if len(curve) < 2 or ts // DAY_MS == curve[-2][0] // DAY_MS:
            return ""
        path = [float(equity) for _, equity in curve[self._steps :]]
        fills, trips, fees, funding = self._before
        books, interval = self._books, profit_interval(path)
        told = [f"equity {path[-1]:,.2f} {books.currency}"]
        if interval is not None:
            told.append(f"{path[-1] - path[0]:+,.2f} (95% {interval[0]:+,.2f} to {interval[1]:+,.2f})")
        told.append(f"{books.fills - fills} fills, {books.round_trips - trips} round trips")
        told.append(f"fees {books.fees - fees:+,.2f}, funding {books.funding - funding:+,.2f}")
        told.append(f"open: {', '.join(book.pair for book in books.open_books()) or 'nothing'}")
        first = curve[self._steps][0]
        self._begin()
        return f"{iso(first)} to {iso(ts)}: {'; '.join(told)}"


class Notifier:
    """Takes in lines at once and lets them go by and by. `say(text)` tells of trouble with the telling, once until
    it works again; where no address is given nothing is ever kept."""

    def __init__(
        self, settings: Notify, mode: str, say: Callable[[str], None], environ: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._mode = mode
        self._say = say
        self._environ = dict(os.environ if environ is None else environ)
        self._wanted = frozenset(settings.events) if notify_urls(environ=self._environ) else frozenset()
        self._notes: deque[Note] = deque(maxlen=KEPT)
        self._lost = 0
        self._news = asyncio.Event()
        self._since = self._last = -1e9
        self._messenger: asyncio.subprocess.Process | None = None
        self._troubled = False

    # -- taking in ------------------------------------------------------------------------------------

    def note(self, kind: str, ts: int, text: str) -> None:
        """Something to tell. What is the same as what waits is told once."""
        note = Note(kind, ts, text)
        if kind not in self._wanted or any((n.ts, n.text) == (ts, text) for n in self._notes):
            return
        self._lost += len(self._notes) == KEPT
        if not self._notes:
            self._since = asyncio.get_running_loop().time()
        self._notes.append(note)
        self._news.set()

    def sink(self, line: LogLine) -> None:
        """A line of the narrator: the bad ones are alarms."""
        if line.level == "bad":
            self.note("alarms", line.ts, line.text)

    def follow(self, journal: Journal) -> None:
        """Tell what the ledger says from here on."""
        day = Day(journal.books)

        def heard(event: AnyEvent) -> None:
            if isinstance(event, Stepped):
                if summary := day.ended(event.ts):
                    self.note("summary", event.ts, summary)
            elif (kind := KINDS.get(type(event))) and (told := describe(journal, event)):
                self.note(kind, event.ts, told[2])

        if self._wanted:
            journal.listen(heard)

    # -- letting go -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what waits, when it is due; for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            rest = self._due() - loop.time()
            if rest > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest):
                        await self._news.wait()
                self._news.set()
            else:
                await self._send()

    def _due(self) -> float:
        """When, by the loop's clock, the next message may leave."""
        urgent = any(note.kind in URGENT for note in self._notes)
        return max(self._since + (0.0 if urgent else GATHER_S), self._last + self._pause(urgent))

    def _pause(self, urgent: bool) -> float:
        return min(URGENT_S, self._settings.every_s) if urgent else self._settings.every_s

    async def _send(self) -> None:
        notes, lost = list(self._notes), self._lost
        self._notes.clear()
        self._lost = 0
        if not notes:
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._ask(digest(self._mode, notes, lost))
        except (OSError, TimeoutError, msgspec.MsgspecError):
            self._forget()
            answer = Answer(error="the messenger did not answer")
        self._last = asyncio.get_running_loop().time()
        wrong = answer.error or (answer.failed and f"not taken by {', '.join(answer.failed)}")
        if wrong and not self._troubled:
            self._say(f"notifications: {wrong}; told once, until they work again")
        self._troubled = bool(wrong)

    async def _ask(self, message: Message) -> Answer:
        messenger = self._messenger or await self._start()
        assert messenger.stdin is not None and messenger.stdout is not None
        messenger.stdin.write(msgspec.json.encode(message) + b"\n")
        await messenger.stdin.drain()
        return msgspec.json.decode(await messenger.stdout.readline(), type=Answer)

    async def _start(self) -> asyncio.subprocess.Process:
        """The process that sends: it needs no key of the exchange, and what it says of errors goes nowhere."""
        self._messenger = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "core.engine.messenger"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in self._environ.items() if name not in SECRET_NAMES},
            start_new_session=True,
        )
        return self._messenger

    def _forget(self) -> None:
        """End a messenger that has not answered; the next message starts another."""
        if self._messenger is not None:
            with contextlib.suppress(ProcessLookupError):
                self._messenger.kill()
            self._messenger = None

    async def close(self) -> None:
        """Send what still waits, within a few seconds, and let the messenger go."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._send()
        if self._messenger is not None:
            assert self._messenger.stdin is not None
            self._messenger.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._messenger.wait()
        self._forget()
