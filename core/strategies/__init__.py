"""Strategies: pure functions from a view of the market and the books held to a decision.

They know no order, no exchange and no ledger: what they decide is carried out by the other wing. `registry` is the
seam by which others come in; `rule` the compiled core of ours.
"""
