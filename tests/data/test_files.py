"""A file is as it was, or as it shall be."""

from pathlib import Path

import pytest

from core.data.files import write_whole


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    for data in (b"first", b"the second"):
        write_whole(place, data)
        assert place.read_bytes() == data
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "result.json"
    write_whole(place, b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(place, b"after")
    assert place.read_bytes() == b"before" and list(tmp_path.iterdir()) == [place]


def test_nobody_ever_sees_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, seen, rename = tmp_path / "result.json", [], Path.replace
    write_whole(place, b"before")

    def look(self: Path, target: Path) -> Path:
        seen.append((place.read_bytes(), self.read_bytes(), self.name.startswith(".")))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", look)
    write_whole(place, b"after")
    assert seen == [(b"before", b"after", True)]
