"""One line of the benchmark's table."""

from typing import NamedTuple


class Row(NamedTuple):
    """A figure beside its baseline, both measured in this run, as printed with their unit.

    `ratio` is baseline over ours; `met` holds it against `target`."""

    what: str
    ours: str
    baseline: str
    ratio: float
    target: str
    met: bool
