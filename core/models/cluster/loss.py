"""What the weights of the cluster model would have earned, and the loss that training brings down.

    loss = -Sharpe + turnover_penalty mean(turnover) + leverage_penalty mean(relu(gross - max_leverage)^2)

with the Sharpe ratio per bar of the market, not annualised: the other terms are scaled to that. Supposed is: a
weight is a share of equity, held in full from the next open to the one after, whatever the price does in between;
every change of weight is paid with `cost_bps` at the close where it is decided; the account starts and is judged
flat. What an open position earns is in `windows.market`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from core.config.settings import ClusterTraining

SMALLEST = 1e-12
"""Added to the variance: a model that does not trade has a Sharpe ratio of 0, not of 0 / 0."""


class Outcome(NamedTuple):
    """Per bar, (R,) each: `net` return on equity after costs, `turnover` (sum of the weights' changes, absolute),
    `gross` exposure."""

    net: Tensor
    turnover: Tensor
    gross: Tensor

    def sharpe(self) -> Tensor:
        """Mean over deviation of the net return, per bar."""
        return self.net.mean() / (self.net.var() + SMALLEST).sqrt()


def outcome(weight: Tensor, earned: Tensor, cost_bps: float) -> Outcome:
    """What `weight` (R, N) brings when a weight of 1 earns `earned` (R, N); flat before the first bar."""
    before = torch.cat((torch.zeros_like(weight[:1]), weight[:-1]))
    turnover = (weight - before).abs().sum(1)
    net = (weight * earned).sum(1) - cost_bps / 1e4 * turnover
    return Outcome(net, turnover, weight.abs().sum(1))


def loss(made: Outcome, recipe: ClusterTraining) -> Tensor:
    """The loss of the module's formula."""
    above = torch.relu(made.gross - recipe.max_leverage)
    penalties = recipe.turnover_penalty * made.turnover.mean() + recipe.leverage_penalty * above.square().mean()
    return penalties - made.sharpe()
