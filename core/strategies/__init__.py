"""The thinking wing: strategies as pure functions from a view of the closed bar to a decision.

Nothing here knows an order, a venue, a clock or a file.
"""
