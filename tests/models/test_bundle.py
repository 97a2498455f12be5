"""Bundles: what was trained is what is loaded, and whatever else lies there is refused in one line."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as pack

import core.models
from core.clock import iso
from core.domain.errors import UserError
from core.models.bundle import (
    Bundle,
    check_features,
    check_universe,
    load,
    refuse_if_seen,
    save,
)
from core.models.stored import digest

HOUR = 3_600_000


def rewritten(bundle: Bundle, meta: dict | None = None, forge: bool = False, **arrays: np.ndarray) -> Path:
    """The same file with other metadata or arrays; forged: with the digest that fits them."""
    content = bundle.path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    stamp = json.loads(header["__metadata__"]["cockpit-bundle"])
    found = {name: arrays.get(name, array) for name, array in load_arrays(content).items()}
    stamp["meta"] |= meta or {}
    if forge:
        stamp["digest"] = digest(stamp["meta"], found)
    bundle.path.write_bytes(pack(found, {"cockpit-bundle": json.dumps(stamp)}))
    return bundle.path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_a_bundle_comes_back_as_it_was_written(bundle, trained):
    again = load(bundle.path)
    assert again.meta == bundle.meta and again.hash == bundle.hash
    rows = np.random.default_rng(1).normal(size=(45, len(again.meta.features)))
    assert (again.score(rows) == trained.forest.score(rows)).all()
    assert again.path.name == f"divergence-{again.hash[:12]}.safetensors"


def test_writing_leaves_one_whole_file_and_the_same_bytes_each_time(trained, tmp_path):
    first, second = save(tmp_path / "a", *trained), save(tmp_path / "b", *trained)
    assert first.path.read_bytes() == second.path.read_bytes() and first.hash == second.hash
    assert list((tmp_path / "a").iterdir()) == [first.path]


def test_a_failed_write_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left on device; choose another folder"):
        save(tmp_path, *trained)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(trained, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        save(tmp_path / "file", *trained)


def test_a_missing_file_names_the_way_out(tmp_path):
    assert "cockpit train" in refusal(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 8, 500, -1])
def test_a_file_cut_short_is_refused(bundle, keep):
    bundle.path.write_bytes(bundle.path.read_bytes()[:keep])
    assert "broken" in refusal(bundle.path)


def test_any_byte_changed_is_refused(bundle):
    content = bundle.path.read_bytes()
    for place in np.random.default_rng(2).integers(0, len(content), 60).tolist():
        spoilt = bytearray(content)
        spoilt[place] ^= 0x10
        bundle.path.write_bytes(spoilt)
        refusal(bundle.path)


def test_a_pickle_is_not_even_opened(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04cbuiltins\nexec\n(Vraise SystemExit\ntR.")
    assert "not a model bundle" in refusal(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(pack({"weights": np.zeros(3)}, {"format": "pt"}))
    assert "not a bundle of cockpit" in refusal(path)


def test_another_kind_and_another_format_are_refused(bundle):
    assert "kind 'cluster'" in refusal(rewritten(bundle, {"kind": "cluster"}))
    newer = {"kind": bundle.meta.kind, "format": 2}
    assert "format 2, this version reads 1: upgrade" in refusal(rewritten(bundle, newer))
    assert "broken bundle" in refusal(rewritten(bundle, {"format": 1, "seed": "seven"}))


def test_a_training_period_that_was_edited_is_refused(bundle):
    """Else a bundle could be made to look as if it had not seen the test."""
    earlier = {"trained_until_ms": bundle.meta.trained_until_ms - HOUR}
    assert "not what was written" in refusal(rewritten(bundle, earlier))


def test_arrays_that_were_exchanged_are_refused(bundle):
    assert "not what was written" in refusal(rewritten(bundle, leaf=bundle.forest.leaf * 0.9))


def test_golden_rows_that_score_otherwise_are_refused(bundle):
    assert "scores differ" in refusal(rewritten(bundle, forge=True, leaf=bundle.forest.leaf * 0.9))


@pytest.mark.parametrize(
    "arrays",
    [
        {"feature": np.full((12, 31), 22, np.int32)},
        {"feature": np.full((12, 31), -1, np.int32)},
        {"feature": np.zeros((12, 30), np.int32)},
        {"feature": np.zeros((12, 31), np.int64)},
        {"threshold": np.zeros((11, 31), np.float32)},
        {"leaf": np.zeros((12, 32), np.float32)},
        {"platt": np.zeros(3)},
        {"golden_in": np.zeros((16, 21))},
        {"golden_out": np.zeros(0)},
    ],
)
def test_arrays_that_the_compiled_walk_could_not_bear_are_refused(bundle, arrays):
    assert "broken bundle" in refusal(rewritten(bundle, forge=True, **arrays))


def test_a_bundle_takes_only_the_columns_it_was_trained_on(bundle):
    """Defect 5: columns that live features lacked were silently filled with zero."""
    names, digest = bundle.meta.features, bundle.meta.features_hash
    check_features(bundle, names, digest)
    swapped = (*names[:3], names[4], names[3], *names[5:])
    for other, words in (
        (swapped, rf"feature 3 is {names[4]}, .* trained with {names[3]}"),
        (names[:-1], rf"feature {len(names) - 1}, {names[-1]}: only the model"),
        ((*names, "base_inflow"), rf"feature {len(names)}, base_inflow: the model lacks"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            check_features(bundle, other, digest)
        assert "train again" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"defined otherwise .* train again"):
        check_features(bundle, names, "0" * 16)


def test_a_bundle_serves_only_the_assets_and_bars_it_was_trained_on(bundle):
    assets = bundle.meta.assets
    check_universe(bundle, assets, HOUR)
    with pytest.raises(UserError, match=r"trained on BTC, ETH, SOL, XRP, not on ETH, BTC, SOL, XRP; train again"):
        check_universe(bundle, (assets[1], assets[0], *assets[2:]), HOUR)
    with pytest.raises(UserError, match="bars of 60 minutes, not of 15; train again"):
        check_universe(bundle, assets, 900_000)


def test_a_model_is_not_judged_on_bars_it_has_seen(bundle):
    """Defect 4: a model file already on disk was used whatever period it had been trained on."""
    last = bundle.meta.trained_until_ms
    refuse_if_seen(bundle, last + HOUR)
    for first in (last, last - HOUR, bundle.meta.trained_from_ms - HOUR):
        with pytest.raises(UserError) as caught:
            refuse_if_seen(bundle, first)
        assert iso(last) in str(caught.value) and iso(first) in str(caught.value)


def test_labels_that_reach_further_than_the_bars_count_as_seen(bundle):
    further = msgspec.structs.replace(bundle.meta, labels_until_ms=bundle.meta.trained_until_ms + 5 * HOUR)
    seen = Bundle(bundle.forest, further, bundle.hash, bundle.path)
    with pytest.raises(UserError):
        refuse_if_seen(seen, bundle.meta.trained_until_ms + 5 * HOUR)
    refuse_if_seen(seen, bundle.meta.trained_until_ms + 6 * HOUR)


def test_no_pickle_in_the_room():
    """Defect 7: its model was a pickle, which runs code on load."""
    folder = Path(core.models.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False
            assert not {name.partition(".")[0] for name in names} & {
                "pickle",
                "joblib",
                "dill",
                "cloudpickle",
                "skops",
            }


def test_what_the_engine_imports_is_light():
    heavy = "{'sklearn', 'torch', 'pandas', 'pyarrow', 'scipy.stats'}"
    code = f"import sys, core.models.bundle, core.models.forest; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
