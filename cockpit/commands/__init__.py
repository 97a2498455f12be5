"""What the commands do. Each module is imported by the command that runs it; heavy work is another process.

Nothing here knows a model, a venue or a strategy: commands ask the engine, or become `python -m core....`.
"""
