"""What is held: each pair or single asset with its legs, where its P&L stands between stop and target."""

from cockpit import format
from cockpit.widgets.panel import Choosing, Line, column
from core.domain.snapshot import LegRow, PositionRow

WIDE = 90
"""Columns from which each leg has a line of its own."""


def side_word(side: int) -> str:
    """`long` or `short` (the spread, or the asset)."""
    return "long" if side > 0 else "short"


def age(row: PositionRow, bar_ms: int) -> str:
    """How long it has been held, in whole bars."""
    if row.bars <= 0:
        return "new"
    return f"{row.bars} bars" if bar_ms <= 0 else format.seconds(row.bars * bar_ms / 1000)


class PositionsPanel(Choosing):
    """Held pairs, two lines each where it is narrow, three where it is wide."""

    topics = frozenset({"positions", "status"})
    title = "positions"

    def names(self) -> list[str]:
        return [f"{row.strategy} {row.pair}" for row in self.latest.positions]

    def row_height(self, width: int) -> int:
        return 3 if width >= WIDE else 2

    def count(self) -> int:
        return max(len(self.latest.positions) * self.row_height(self.scrollable_content_region.width), 1)

    def wanted(self, width: int) -> int:
        return max(len(self.latest.positions) * self.row_height(width), 1)

    @property
    def selected(self) -> PositionRow | None:
        """The selected position."""
        place = self.place()
        return self.latest.positions[place] if place >= 0 else None

    def sync(self) -> None:
        rows = self.latest.positions
        total = sum(row.pnl for row in rows)
        gross = sum(row.gross for row in rows)
        self.note(f"{format.number(total, sign=True)} on {format.number(gross, 0)} gross" if rows else "")
        super().sync()

    def line(self, index: int, width: int) -> Line:
        if not self.latest.positions:
            return [(" no position", self.palette.muted)]
        high = self.row_height(width)
        row = self.latest.positions[index // high]
        part = index % high
        if part == 0:
            return self._pair(row, width)
        if high == 3:
            return self._leg(row.legs[part - 1]) if part <= len(row.legs) else []
        return self._legs(row, width)

    def _pair(self, row: PositionRow, width: int) -> Line:
        p = self.palette
        chosen = "▸" if f"{row.strategy} {row.pair}" == self.chosen else " "
        bar_ms = self.latest.status.bar_ms if self.latest.status else 0
        wide = width >= WIDE
        if row.protected:
            guard = ("protected" if wide else "guarded", p.muted)
        else:
            guard = ("UNPROTECTED" if wide else "BARE !", p.danger)
        if row.working:
            guard = (f"{row.working}…", p.attention)
        gap, form = ("  ", " {} → {}") if wide else (" ", "{}→{}")
        stop, target = format.percent(row.stop, 1), format.percent(row.target, 1)
        if wide:
            stop, target = f"stop {stop} ", f" {target} target"
        if not row.stop and not row.target:  # its strategy holds it by weight, and sets neither
            stop, target = " " * len(stop), " " * len(target)
        left: Line = [
            (f"{chosen}{column(row.pair, 9)}{gap}", p.strong),
            (f"{side_word(row.side):<5}{gap}", p.text),
            (f"z{form.format(format.signed(row.z_entry), format.signed(row.z_now))}{gap}", p.muted),
            (f"{format.number(row.pnl, 2, 9, sign=True):>9} ", p.signed(row.pnl) + p.bold),
            (f"{format.percent(row.pnl_share, 2, 7):>7}{gap}", p.signed(row.pnl_share)),
            (stop, p.muted),
        ]
        right: Line = [(f"{target}{gap}", p.muted), (f"{age(row, bar_ms):>3}{gap}", p.muted), guard]
        room = min(max(width - sum(len(text) for text, _ in left + right), 3), 33)
        return [*left, (format.gauge(row.pnl_share, row.stop, row.target, room), p.signed(row.pnl_share)), *right]

    def _leg(self, leg: LegRow) -> Line:
        p = self.palette
        return [
            (f"   {'long' if leg.units > 0 else 'short':<5} {column(leg.asset, 6)}", p.text),
            (f"{format.amount(leg.units, 12):>12}  ", p.text),
            (f"{format.price(leg.entry, 10):>10} → ", p.muted),
            (f"{format.price(leg.mark, 10):<10}", p.text),
            (f"{format.number(leg.pnl, 2, 10, sign=True):>10}", p.signed(leg.pnl)),
        ]

    def _legs(self, row: PositionRow, width: int) -> Line:
        p = self.palette
        room = (width - 3) // max(len(row.legs), 2)
        cells: Line = [("   ", p.muted)]
        for leg in row.legs:
            amount = f"{format.amount(leg.units, 9)} {leg.asset} "
            move = f"{format.price(leg.entry, 9)}→{format.price(leg.mark, 9)} "
            pnl = format.number(leg.pnl, 2, 9, sign=True)
            padding = " " * max(room - len(amount) - len(move) - len(pnl), 1)
            cells += [(amount, p.text), (move, p.muted), (pnl + padding, p.signed(leg.pnl))]
        return cells
