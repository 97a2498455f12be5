"""What the soak calls flat, and what growing."""

import os

from tests.soak.high_rate import Sample, grown, look


def test_what_stays_is_flat_and_what_leaks_is_told() -> None:
    steady = [Sample(300.0 + n % 5, 40 + n % 2) for n in range(90)]
    assert grown(steady) == ""
    assert "memory from" in grown([Sample(300.0 + n, 40) for n in range(90)])
    assert "open files from" in grown([Sample(300.0, 40 + n // 5) for n in range(90)])
    assert grown([Sample(100.0 + 8 * n, 9 + n) for n in range(30)] + steady[:60]) == "", "warming up is no leak"


def test_a_process_is_looked_at() -> None:
    seen = look(os.getpid())
    assert seen.memory > 5 and seen.handles >= 3
