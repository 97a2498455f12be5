"""Where the lake's bytes lie: a folder of this machine, or any other place that an fsspec URL names.

One promise carries the lake: `put` leaves a file as it was or as it shall be, never half. A folder keeps it by a
file beside it, synced and renamed; an object store because a single put of an object is seen whole or not at all.
"""

import fcntl
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import fsspec

from core.data.files import write_whole
from core.domain.errors import UserError


class Store(ABC):
    """Files by their path below one root, with `/` between the parts. Failures are OSErrors."""

    def __init__(self, root: str) -> None:
        self.root = root

    def place(self, path: str) -> str:
        """A file as people name it."""
        return f"{self.root}/{path}"

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError if there is none."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Write or replace the file, whole or not at all; on return it is on disk."""

    @abstractmethod
    def remove(self, path: str) -> None: ...

    @abstractmethod
    def files(self, folder: str = "") -> list[str]:
        """The paths of all files below `folder`, sorted; none if there is no such folder."""

    @abstractmethod
    def alone(self, name: str) -> AbstractContextManager[None]:
        """Hold off other writers of `name`. UserError if one is at work. An object store knows no lock: whoever
        writes to the same data set there must see to it that nobody else does."""


class Folder(Store):
    """A folder of this machine."""

    def read(self, path: str) -> bytes:
        return Path(self.root, path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        place = Path(self.root, path)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(place, data)

    def remove(self, path: str) -> None:
        place = Path(self.root, path)
        place.unlink()
        for folder in place.parents:
            if folder == Path(self.root) or any(folder.iterdir()):
                break
            folder.rmdir()

    def files(self, folder: str = "") -> list[str]:
        paths = Path(self.root, folder).rglob("*")
        return sorted(path.relative_to(self.root).as_posix() for path in paths if path.is_file())

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """A lock of the system: whoever dies lets go of it."""
        Path(self.root).mkdir(mode=0o700, parents=True, exist_ok=True)
        with Path(self.root, f".{name}.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.place(name)}: another command writes to it: wait until it is done"
                ) from None
            yield


class Objects(Store):
    """Any place that fsspec reaches: s3://bucket/lake, gs://..., memory://..."""

    def __init__(self, url: str) -> None:
        super().__init__(url.rstrip("/"))
        try:
            self._fs: Any
            self._fs, self._base = fsspec.core.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise UserError(f"{url}: no such place ({error}); give a folder or an fsspec URL") from None

    def read(self, path: str) -> bytes:
        return bytes(self._fs.cat_file(f"{self._base}/{path}"))

    def put(self, path: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._base}/{path}", data)

    def remove(self, path: str) -> None:
        self._fs.rm_file(f"{self._base}/{path}")

    def files(self, folder: str = "") -> list[str]:
        self._fs.invalidate_cache()
        return sorted(path.removeprefix(f"{self._base}/") for path in self._fs.find(f"{self._base}/{folder}"))

    def alone(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


def store_of(root: str | Path) -> Store:
    """The store at a path or an fsspec URL."""
    text = str(root)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return Objects(text) if "://" in text else Folder(text.rstrip("/") or "/")
