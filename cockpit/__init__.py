"""The terminal and the commands: clients of a running engine.

Nothing here imports a model, a venue, torch, scikit-learn or ccxt; heavy commands start a process.
"""
