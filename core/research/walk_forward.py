"""Rolling walk-forward: a model for every segment, of its past alone; what all decided, stitched to one run.

Each finished segment lies in the walk's folder, model and decisions, before the next begins: a walk that was
interrupted goes on from there and ends as if it had never stopped. Decisions are stitched, not returns: the account
goes through every border as it is, and the new model adjusts it.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.clock import iso, monotonic
from core.data.panel import Panel
from core.domain.errors import UserError
from core.jobs import Progress
from core.models import stored
from core.research.segments import Segment


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a finished segment beside its model: the walk that it belongs to (a hash), the assets that
    were known, the file of the model, and what its trainer says of it. What it decides follows from these."""

    walk: str
    number: int
    assets: tuple[str, ...]
    model: str
    training: dict[str, float | None]


class Made(NamedTuple):
    """What a trainer gives for a segment: see `Kept`."""

    assets: tuple[str, ...]
    model: Path
    training: dict[str, float | None]


Trainer = Callable[[Segment, Path, Path | None, Progress], Made]
"""(segment, folder for its model, model file of the segment before, progress): a model of the segment's past."""


def identity(panel: Panel, told: Sequence[Segment], *what: object) -> str:
    """A hash over all that makes a walk another one: data, segments, and whatever decides how models are made."""
    bounds = [(part.train.start, part.train.stop, part.test.start, part.test.stop) for part in told]
    text = msgspec.json.encode((panel.content_hash, bounds, what), order="deterministic")
    return hashlib.sha256(text).hexdigest()


def walk(folder: Path, name: str, told: Sequence[Segment], train: Trainer, progress: Progress) -> tuple[Kept, ...]:
    """Every segment, those that `folder` holds already as they are. `name`: the walk's `identity`.

    UserError: a segment of another walk in the folder, or what the trainer refuses, with the segment's number."""
    done: list[Kept] = []
    began, fresh = monotonic(), 0
    for segment in told:
        file = folder / f"{segment.number:04d}.json"
        if file.exists():
            done.append(_read(file, name))
            continue
        each = (monotonic() - began) / fresh if fresh else None
        left = f", {_span(each * (len(told) - segment.number))} left" if each is not None else ""
        at = f"segment {segment.number + 1} of {len(told)}"

        def tell(share: float, text: str, at: str = f"{at}{left}", number: int = segment.number) -> None:
            progress((number + share) / len(told), f"{at}: {text}")

        before = folder / done[-1].model if done else None
        try:
            made = train(segment, folder, before, tell)
        except UserError as error:
            raise UserError(f"{at}: {error}", error.code) from None
        kept = Kept(
            walk=name, number=segment.number, assets=made.assets, model=made.model.name, training=made.training
        )
        stored.put(file, msgspec.json.encode(kept))
        done.append(kept)
        fresh += 1
    progress(1.0, f"{len(told)} segments")
    return tuple(done)


def _read(file: Path, name: str) -> Kept:
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{file}: cannot be read ({error}): leave --resume away") from None
    if kept.walk != name:
        raise UserError(f"{file}: a segment of another walk, of other data or parameters: leave --resume away")
    return kept


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def assumed(told: Sequence[Segment], panel: Panel, purge: int, warm: bool) -> dict[str, str]:
    """How a walk was made, in words for the assumptions of its result."""
    first = told[0]
    learned = int(panel.valid[first.train].any(axis=1).sum())
    return {
        "models": f"{len(told)}, each of the {learned:,} bars before its test alone"
        + (f", {purge} bars before it left out" if purge else "")
        + (", begun with the one before" if warm else ", begun afresh"),
        "a new model": "decides first one bar after its training ends; the account goes on and is adjusted by it",
        "universe": "assets that traded in half of the training and at its end, anew for every segment",
        "first test": f"{iso(int(panel.ts[first.test.start]))}",
    }
