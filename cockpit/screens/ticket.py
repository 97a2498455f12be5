"""Opening a pair by hand: the engine says what it would send before anything is sent."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.widgets import Button, Static

from cockpit import format
from cockpit.screens.modals import Question, text
from cockpit.widgets.pairs import direction
from cockpit.widgets.panel import Line
from core.domain.errors import UserError
from core.domain.snapshot import Command, Ticket
from core.link.client import new_id

if TYPE_CHECKING:
    from cockpit.app import CockpitApp


class OpenTicket(Question):
    """Both legs, sizes, values, fees, margin and the risk gate's word, for the side that is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,right,h,l,s", "turn", "Other side", id="ticket.side", tooltip="Long or short the spread"),
    ]

    def __init__(self, pair: str, side: int) -> None:
        super().__init__(f"open {pair} by hand", [], "Open")
        self.pair = pair
        self.side = side
        self.ticket: Ticket | None = None
        self._refusal = "asking the engine…"

    @property
    def cockpit(self) -> "CockpitApp":
        return cast("CockpitApp", self.app)

    def on_mount(self) -> None:
        super().on_mount()
        self.ask()

    def ask(self) -> None:
        """Ask the engine for a ticket of the present side; an older question is dropped."""
        self.ticket, self._refusal = None, "asking the engine…"
        self._show()
        self.run_worker(self._ask(self.side), exclusive=True)

    async def _ask(self, side: int) -> None:
        try:
            reply = await self.cockpit.command(Command(new_id(), "preview", self.pair, side, who="cockpit"))
        except UserError as error:
            self._refusal = str(error)
        else:
            self.ticket = reply.ticket
            self._refusal = reply.ticket.refused if reply.ticket else reply.message
        self._show()

    def _show(self) -> None:
        self.query_one("#body", Static).update(text(self._ticket_lines()))
        yes = self.query_one("#yes", Button)
        yes.disabled = not self.allowed

    @property
    def allowed(self) -> bool:
        """Whether yes would be obeyed."""
        return self.ticket is not None and not self._refusal

    def _ticket_lines(self) -> list[Line]:
        p = self.cockpit.palette
        lines: list[Line] = []
        what = "the spread" if "/" in self.pair else self.pair
        for side, name in ((1, "long"), (-1, "short")):
            chosen = side == self.side
            lines.append(
                [
                    (
                        f" {'(●)' if chosen else '( )'} {name} {what}:{' ' * (7 - len(name))}",
                        p.strong if chosen else p.muted,
                    ),
                    (direction(self.pair, side, True), p.strong if chosen else p.muted),
                ]
            )
        lines += [[("     ← → or s: other side", p.muted)], []]
        ticket = self.ticket
        if ticket is None:
            return [*lines, [(f" {self._refusal}", p.attention)]]
        if not ticket.legs:
            return [*lines, [(" ✗ refused: ", p.loss + p.bold), (ticket.refused, p.loss)]]
        lines.append([(f" {'':<5} {'asset':<6}{'contracts':>11}{'amount':>14}{'price':>12}{'value':>13}", p.muted)])
        for leg in ticket.legs:
            value = abs(leg.units) * leg.mark
            lines.append(
                [
                    (f" {'buy' if leg.units > 0 else 'sell':<5} {leg.asset:<6}", p.strong),
                    (f"{format.number(abs(leg.contracts), 2, 10):>11}{format.amount(leg.units, 13):>14}", p.text),
                    (f"{format.price(leg.mark, 11):>12}{format.number(value, 2, 12):>13}", p.text),
                ]
            )
        lines += [
            [],
            [
                (" gross ", p.muted), (format.number(ticket.gross), p.strong),
                ("   fees ", p.muted), (format.number(ticket.fees), p.strong),
                ("   margin ", p.muted), (format.number(ticket.margin), p.strong),
                ("   USDT", p.muted),
            ],
            [(" ✗ refused: ", p.loss + p.bold), (ticket.refused, p.loss)]
            if ticket.refused
            else [(" ✓ the risk gate allows it", p.profit)],
        ]  # fmt: skip
        return lines

    def action_turn(self) -> None:
        self.side = -self.side
        self.ask()

    def action_yes(self) -> None:
        if self.allowed:
            self.dismiss(True)
        else:
            self.app.bell()
