"""Do features mean the same in training as in service: whenever they were started, and however they are fed?"""

from collections.abc import Sequence

import numpy as np

from core.clock import iso
from core.data.panel import Panel
from core.domain.audit import Check, Finding
from core.features.catalog import Arrays, Feature
from core.research.histories import Excerpt
from core.research.lookahead import apart, different

AFTER = 300
"""Bars that are compared after a warm-up."""
ROUNDING = 1e-9
"""Relative: running sums, as libraries keep them, remember their start in the last digits."""
FORGOTTEN = 1e-4
"""To which at least a declared recursion agrees here, where the bars are real and no market was made for it: what
is left of the start moves no threshold that anybody set."""


def warmup(features: Sequence[Feature], excerpts: Sequence[Excerpt]) -> Check:
    """A fresh start whose warm-up ends at each cut against one that has seen all bars of the excerpt before."""
    findings: dict[str, Finding] = {}
    needs = {feature.name: feature.warmup(excerpts[0].panel) for feature in features}
    for feature in features:
        need = needs[feature.name]
        for panel, starts in excerpts:
            for start in starts:
                if need <= start < len(panel):
                    for found in _late(feature, panel.slice(0, start + AFTER), start, need):
                        findings.setdefault(found.name, found)
    told = ", ".join(f"{name} {need}" for name, need in needs.items())
    places = sum(len(excerpt.cuts) for excerpt in excerpts)
    text = f"a start with the warm-up alone ({told} bars) before {places} bars against all history"
    return Check("warm-up", text, tuple(findings.values()))


def service(features: Sequence[Feature], excerpts: Sequence[Excerpt], bars: int = 100) -> Check:
    """Whole histories, as training reads them, against bars fed one by one from each cut on, as live running does:
    bit for bit."""
    findings: dict[str, Finding] = {}
    places = [(panel, start) for panel, starts in excerpts for start in starts]
    for feature in features:
        for panel, start in places:
            period = panel.slice(max(0, start - feature.warmup(panel)), start + bars)
            whole = feature.history(period)
            first = len(period) - min(bars, len(period))
            live = feature.make(panel.assets, panel.bar_ms)
            live.history(period.slice(0, first))
            for t in range(first, len(period)):
                for name, values in live.update(period.bar(t)).items():
                    if name not in findings and different(whole[name][t : t + 1], values).any():
                        findings[name] = _unserved(name, whole, values, period, t)
    text = f"{bars} live bars at {len(places)} places against the history that training reads, bit for bit"
    return Check("train/serve", text, tuple(findings.values()))


def _late(feature: Feature, panel: Panel, start: int, need: int) -> list[Finding]:
    """Columns that a late start, warm by its own word at bar `start`, tells otherwise than a whole history."""
    whole, late = feature.history(panel), feature.history(panel.slice(start - need, len(panel)))
    found = []
    for name, values in late.items():
        mine, known = values[need:], whole[name][start:]
        off = apart(mine, known, max(feature.recursive[name], FORGOTTEN) if name in feature.recursive else ROUNDING)
        if not off.any():
            continue
        last = int(np.flatnonzero(off)[-1]) + 1
        size = float(np.nanmax(np.abs(mine * 1.0 - known * 1.0)))
        when = iso(int(panel.ts[start + int(np.argmax(off))]))
        if last < len(off):
            mend = f"it needs {last} more bars: declare a warm-up of {need + last}"
        else:
            mend = (
                f"it still differs {last} bars later: it remembers for ever (a running total, an expanding window,"
                " a recursion); use a rolling window, or declare it recursive with its tolerance and warm-up"
            )
        fault = f"depends on where the data begin: after {need} bars of warm-up it is off by up to {size:.2g}"
        found.append(Finding(name, when, feature.name, fault, mend))
    return found


def _unserved(name: str, whole: Arrays, values: object, period: Panel, t: int) -> Finding:
    trained, live = whole[name][t].reshape(-1), np.asarray(values).reshape(-1)
    at = int(np.argmax(different(trained, live)))
    return Finding(
        name,
        iso(int(period.ts[t])),
        "",
        f"live it is {live[at]!s} where training read {trained[at]!s}",
        "compute both with one function: history as T bars, live as one bar of the same loop",
    )
