"""What happened: decisions, orders, fills. Follows the end until one scrolls back."""

from cockpit import format
from cockpit.widgets.panel import Latest, Line, Panel

SIGNS = {"info": "·", "good": "+", "warn": "!", "bad": "✗"}


class LogPanel(Panel):
    """One line an event, the latest last."""

    topics = frozenset({"log"})
    title = "log"

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.following = True
        self._seen = 0

    def update(self, latest: Latest) -> None:
        came = latest.logged - self._seen if latest.logged >= self._seen else latest.logged
        dropped = came - (len(latest.log) - len(self.latest.log))
        self._seen = latest.logged
        self.latest = Latest(log=latest.log, logged=latest.logged)
        if not self.following and dropped > 0:  # old lines went: what is looked at moves up with them
            self.scroll_to(y=self.scroll_offset.y - dropped, animate=False, force=True)
        self.sync()

    def count(self) -> int:
        return max(len(self.latest.log), 1)

    def sync(self) -> None:
        super().sync()
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)
        self._say()

    def _say(self) -> None:
        below = self.max_scroll_y - self.scroll_offset.y
        self.note("" if self.following else f"▾ {below} more below, G follows")

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value:
            self.following = False
        if round(new_value) >= self.max_scroll_y:
            self.following = True
        self._say()

    def line(self, index: int, width: int) -> Line:
        p = self.palette
        if not self.latest.log:
            return [(" nothing has happened yet", p.muted)]
        entry = self.latest.log[index]
        style = {"good": p.profit, "warn": p.attention, "bad": p.loss}.get(entry.level, p.muted)
        time = format.clock(entry.ts, "%m-%d %H:%M" if width >= 60 else "%H:%M")
        text = p.strong if entry.level == "bad" else p.text
        return [
            (f" {time} ", p.muted),
            (f"{SIGNS.get(entry.level, '?')} ", style),
            (f"{entry.kind:<8} ", style if entry.level != "info" else p.muted),
            (entry.text, text),
        ]
