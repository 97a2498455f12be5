"""The ledger, and the books folded from it: what we did, what we hold, what it cost.

Every change of state is an event appended here first; the state is the fold of the events, nothing else.
"""
