"""The acting wing's hands: sizing, the risk gate, two-leg execution, orders, protection, reconciliation."""
