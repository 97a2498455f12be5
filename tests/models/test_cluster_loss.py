"""What weights earn: from open to open, funding and costs paid; and the loss that is made of it."""

import numpy as np
import pytest
import torch
from small_cluster import SMALL

from core.data.panel import Panel
from core.models.cluster.loss import loss, outcome
from core.models.cluster.windows import bars_of, market

HOUR = 3_600_000


def a_panel(funding: dict[int, float] | None = None, silent: tuple[int, ...] = ()) -> Panel:
    """Six bars of one asset that opens at 100, 110, 121, ...; closes are between."""
    opens = 100.0 * 1.1 ** np.arange(6)[:, None]
    volume = np.ones((6, 1))
    volume[list(silent)] = 0.0
    rate = np.full((6, 1), np.nan)
    for bar, paid in (funding or {}).items():
        rate[bar] = paid
    close = opens * 1.05
    return Panel.of(np.arange(6) * HOUR, ["A"], (opens, close, opens, close, volume), HOUR, rate)


def test_a_weight_earns_from_the_next_open_to_the_one_after():
    earned = market(a_panel()).earned[:, 0]
    assert earned[:4] == pytest.approx(0.1)
    assert (earned[4:] == 0).all()


def test_a_long_pays_the_funding_that_settles_while_it_is_held():
    """Decided at the close of bar 1, held from the open of bar 2 to that of bar 3: what bar 2 holds is paid."""
    earned = market(a_panel({2: 0.01})).earned[:, 0]
    assert earned[:4] == pytest.approx([0.1, 0.09, 0.1, 0.1])


def test_bars_without_any_trade_are_none_of_the_market_and_their_funding_is_not_lost():
    known = market(a_panel({3: 0.01}, silent=(3,)))
    assert known.rows.tolist() == [0, 1, 2, 4, 5]
    assert known.earned[:3, 0] == pytest.approx([0.1, 1.1**2 - 1 - 0.01, 0.1])


def test_net_is_gross_less_the_cost_of_every_change_the_first_included():
    weight = torch.tensor([[0.1, 0.0], [0.1, -0.1], [0.0, -0.1]])
    earned = torch.tensor([[0.01, 0.5], [0.02, 0.01], [0.5, -0.01]])
    made = outcome(weight, earned, 10.0)
    assert made.turnover.tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert made.gross.tolist() == pytest.approx([0.1, 0.2, 0.1])
    assert made.net.tolist() == pytest.approx([0.001 - 1e-4, 0.001 - 1e-4, 0.001 - 1e-4])


def test_the_loss_is_minus_sharpe_per_bar_with_penalties():
    rng = np.random.default_rng(0)
    weight, earned = torch.from_numpy(rng.normal(size=(2, 50, 8)))
    made = outcome(weight, earned, 10.0)
    net = made.net.numpy()
    recipe = SMALL.model_copy(update={"turnover_penalty": 0.5, "leverage_penalty": 2.0, "max_leverage": 5.0})
    above = np.maximum(made.gross.numpy() - 5.0, 0.0)
    expected = -net.mean() / net.std(ddof=1) + 0.5 * made.turnover.mean().item() + 2.0 * (above**2).mean()
    assert (above > 0).any() and (above == 0).any()
    assert float(loss(made, recipe)) == pytest.approx(expected)


def test_a_model_that_does_not_trade_has_a_finite_loss():
    still = torch.zeros(30, 4, requires_grad=True)
    found = loss(outcome(still, torch.ones(30, 4), 10.0), SMALL)
    found.backward()
    assert float(found.detach()) == 0.0 and still.grad is not None and bool(still.grad.isfinite().all())


def test_days_are_those_of_the_market():
    assert (bars_of(252, 24 * HOUR), bars_of(252, HOUR)) == (252, 6048)
