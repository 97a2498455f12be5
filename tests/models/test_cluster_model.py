"""The differentiable model: the formulas, without a window being written out; its gradients; its masks."""

import numpy as np
import pytest
import torch
from small_cluster import SMALL, plain, similarities, some_logs

from core.config.settings import LEARNED, ClusterTraining
from core.models.cluster import model as module
from core.models.cluster.loss import loss, outcome
from core.models.cluster.model import STRIDE, ClusterModel, Windows
from core.models.cluster.rule import OWN

K, W = SMALL.n_clusters, SMALL.window
CHUNKS = [1, 4 * STRIDE * 9 * K, 1 << 20]
"""One block at a time; four; all at once, more blocks than assets."""


def a_model(recipe: ClusterTraining = SMALL, seed: int = 0, double: bool = False) -> ClusterModel:
    made = ClusterModel(recipe, np.random.default_rng(seed).normal(size=(recipe.n_clusters, recipe.window)))
    return made.double() if double else made


def windows_of(logs: np.ndarray, double: bool = False, chunk: int | None = None) -> Windows:
    return Windows.of(logs, W, K, dtype=torch.float64 if double else torch.float32, chunk=chunk)


@pytest.mark.parametrize("level", [0.0, 11.0])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_similarities_are_within_1e_5_of_written_out_windows_in_double_precision(chunk, level):
    logs, made = some_logs(420) + level, a_model()
    expected, z, known = similarities(logs, made.clusters().centroids)
    windows = windows_of(logs, chunk=chunk)
    found = made.similarities(windows).permute(1, 2, 0).numpy()
    assert known.any() and not known.all()
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(windows.by_bar(windows.z).numpy() - z).max() < 1e-5
    assert (windows.by_bar(windows.known).numpy() == known).all()


def test_many_blocks_and_few_assets_change_places_so_that_loops_are_long():
    logs = some_logs(420)
    assert windows_of(logs, chunk=CHUNKS[0]).axis == -1
    assert windows_of(logs, chunk=CHUNKS[2]).axis == -2


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_model_says_what_the_formulas_say_and_has_their_gradients(chunk):
    logs = some_logs(420)[:, [0, 1, 3, 5, 7, 8]]
    made = a_model(double=True)
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=(420 - W + 1, 6)))
    told, expected = made(windows_of(logs, True, chunk)), plain(made, torch.from_numpy(logs))
    for ours, theirs in zip(told, expected, strict=True):
        assert torch.allclose(ours[W - 1 :], theirs, atol=1e-10)
        assert not ours[: W - 1].any()
    ours = torch.autograd.grad((told.signal[W - 1 :] * direction).sum(), list(made.parameters()))
    theirs = torch.autograd.grad((expected.signal * direction).sum(), list(made.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-10)


def test_gradients_of_the_loss_agree_with_finite_differences():
    """Of every learned number, masks and missing assets included, in double precision."""
    logs = some_logs(160)[:, [0, 2, 4, 6]]
    made = a_model(double=True)
    windows = windows_of(logs, True)
    earned = torch.from_numpy(0.01 * np.random.default_rng(2).normal(size=logs.shape))

    def objective(*values: torch.Tensor) -> torch.Tensor:
        told = torch.func.functional_call(made, dict(zip(LEARNED, values, strict=True)), (windows,))
        return loss(outcome(told.weight, earned, 10.0), SMALL)

    values = [value.detach().clone().requires_grad_() for value in made.parameters()]
    assert [name for name, _ in made.named_parameters()] == list(LEARNED)
    assert torch.autograd.gradcheck(objective, values, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_computing_again_gives_the_gradients_of_keeping(monkeypatch):
    logs = some_logs()

    def gradients() -> list[torch.Tensor]:
        made = a_model()
        return list(
            torch.autograd.grad(made(windows_of(logs, chunk=1)).signal.square().sum(), list(made.parameters()))
        )

    kept = gradients()
    monkeypatch.setattr(module, "KEPT", 0)
    assert all(torch.equal(one, other) for one, other in zip(kept, gradients(), strict=True))


def test_a_missing_asset_is_masked_and_moves_nobody():
    """The others say the same with an asset that is never known as without it."""
    logs = some_logs()
    logs[:, 5] = np.nan
    rest = [0, 1, 2, 3, 4, 6, 7, 8]
    made = a_model(double=True)
    whole, without = made(windows_of(logs, True)), made(windows_of(logs[:, rest], True))
    assert not any(grid[:, 5].any() for grid in whole)
    assert all(torch.allclose(a[:, rest], b, atol=1e-12) for a, b in zip(whole, without, strict=True))


def test_an_asset_is_no_part_of_its_own_consensus():
    """Two assets: the consensus of each is the z of the other, but for the weight of OWN."""
    logs = some_logs()[:, [0, 1]]
    recipe = SMALL.model_copy(update={"similarity_threshold": -0.99, "scaling_factor": 1e-6})
    made = a_model(recipe, double=True)
    told = made(windows_of(logs, True))
    z, residual = told.z[W - 1 :], told.residual[W - 1 :]
    weight = 1.0 / K  # no sharpness: every cluster has the same share of both
    expected = (weight * z.flip(1) + OWN * z) / (weight + OWN)
    assert torch.allclose(z - residual, expected, atol=1e-4)


def test_a_lonely_asset_agrees_with_itself():
    told = a_model(double=True)(windows_of(some_logs()[:, :1], True))
    assert told.z.any() and told.residual.abs().max() < 1e-9


def test_what_is_frozen_has_no_gradient_and_what_is_learned_stays_in_range():
    recipe = SMALL.model_copy(update={"frozen": ("centroids", "temp")})
    made = a_model(recipe)
    assert {name for name, value in made.named_parameters() if not value.requires_grad} == {"centroids", "temp"}
    with torch.no_grad():
        for name in LEARNED[1:]:
            getattr(made, name).add_(-3.0)
            assert made.value(name) > 0 or name == "similarity_threshold"
            assert made.value("similarity_threshold").abs() < 1


def test_memory_grows_with_bars_assets_and_clusters_not_with_the_window():
    for window in (10, 80):
        windows = Windows.of(some_logs(800), window, K)
        assert windows.frames.numel() < 800 * 9 * (2.0 + 1.2 * window / STRIDE)
