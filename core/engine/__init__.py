"""The live runtime: feed, step, jobs, supervisor, snapshots.

Everything here waits through the event loop's clock; what is decided is decided in `core.trader`.
"""
