"""Bundles by the kind of their model, which is also how the names of their files begin."""

from collections.abc import Callable, Mapping
from pathlib import Path

from core.domain.errors import UserError
from core.models import bundle
from core.models.bundle import AnyBundle
from core.models.cluster import bundle as cluster

LOADERS: Mapping[str, Callable[[Path], AnyBundle]] = {"divergence": bundle.load, "cluster": cluster.load}


def loaded(kind: str, path: Path) -> AnyBundle:
    """The bundle in `path`, read and checked. UserError: whatever its kind's `load` refuses."""
    return LOADERS[kind](path)


def latest(kind: str, folder: Path) -> Path:
    """The newest bundle of that kind that was stored in `folder`. UserError: there is none."""
    found = sorted(folder.glob(f"{kind}-*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"no {kind} model in {folder}: train one with `cockpit train {kind} --data FILE`")
    return found[-1]
