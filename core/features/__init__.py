"""Features: each module owns one compiled loop that serves history (T bars) and live (one bar) alike.

A loop only ever sees the past: state, and the bars it is handed in order.
"""
