"""A stop of ours fires while its pair is being closed: what it has taken is not taken once more."""

import asyncio
from decimal import Decimal as D

from core.domain.orders import Action, OrderState
from core.portfolio.events import Planned, Reported
from tests.execution.fakes import BTC
from tests.execution.rig import Rig


async def test_a_close_never_passes_a_stop_that_nobody_has_judged_yet(rig: Rig) -> None:
    await rig.open_pair()
    rig.venue.move(BTC, "700")
    await rig.drain()
    assert (rig.venue.net(BTC), rig.books.net(BTC)) == (0, 10)  # Fired, and not yet explained.

    closing = asyncio.create_task(rig.run(await rig.intend("-10", "10", Action.CLOSE)))
    await rig.until(lambda: any(told.report.state is OrderState.REJECTED for told in rig.told(Reported)))
    await rig.reconciler.run()
    await closing

    orders = [planned.order for planned in rig.told(Planned) if planned.order.instrument == BTC]
    assert all(order.reduce_only for order in orders if order.size < 0)
    assert (await rig.reconciler.run()).agrees
    assert rig.held() == (D(0), D(0))
    assert (rig.venue.net(BTC), rig.books.net(BTC)) == (0, 0)
