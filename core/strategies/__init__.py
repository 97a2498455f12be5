"""Strategies: pure functions from a view of the market and the books held to a decision.

They know no order, no exchange and no ledger: what they decide is carried out by the other wing.
"""
