"""The cluster model in PyTorch, to be trained: the formulas of `core.models.cluster.rule`, differentiable.

No window is materialised. A block of `STRIDE` bars and the W - 1 before them is a column; the products of its
windows with the centroids are one matrix product with a band of centroids, each shifted by a bar. Blocks are
worked off in chunks that fit the processor's cache (on a GPU, its memory), forward and backward; the gradients of
the part that has K numbers per bar and asset are written out, which takes a third of the passes over them that
recorded operations take. So memory grows with bars x assets x clusters; where that is too much, similarities and
shares are computed again in the backward pass instead of kept, and it grows with bars x assets.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.config.settings import LEARNED, ClusterTraining
from core.domain.market import Floats
from core.models.cluster.rule import GATE_SHARPNESS, OWN, WEIGHT, Clusters
from core.models.cluster.windows import frame, standings

STRIDE = 32
CHUNK = {"cpu": 1 << 17, "cuda": 1 << 25}
"""Numbers (bars x assets x clusters) that are worked on at once."""
KEPT = 1 << 26
"""Numbers up to which the forward pass keeps what the backward pass needs: 8 bytes each."""


class Windows(NamedTuple):
    """All windows of R bars and N assets, in C chunks of Q blocks of S bars: `z`, `scale` (1 / length of the
    centred window) and `known` (1 or 0) are (C, S, Q, N) each, `frames` (C, W+S-1, Q, N) anchored log prices. Where
    there are more blocks than assets they change places, (C, S, N, Q), so that the inner loops are long: `axis` is
    that of the assets, -1 or -2."""

    frames: Tensor
    z: Tensor
    scale: Tensor
    known: Tensor
    axis: int
    bars: int
    window: int

    @classmethod
    def of(
        cls,
        logs: Floats,
        window: int,
        clusters: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk: int | None = None,
    ) -> "Windows":
        """The windows of `logs` (R, N), NaN where a price is unknown; `clusters` decides the size of the chunks."""
        bars, n = logs.shape
        first = min(window - 1, bars)  # the first bar with a whole window
        blocks = max(1, -(-(bars - first) // STRIDE))
        at_once = max(1, min(blocks, (chunk or CHUNK[device]) // (STRIDE * n * clusters)))
        chunks = -(-blocks // at_once)
        frames = np.empty(
            (chunks, window + STRIDE - 1, at_once, n), np.float32 if dtype == torch.float32 else float
        )
        for c in range(chunks):
            frame(logs, c * at_once * STRIDE, STRIDE, frames[c])
        z, std, known = np.empty((bars, n)), np.empty((bars, n)), np.empty((bars, n), np.bool_)
        standings(logs, window, z, std, known)
        axis = -2 if at_once > n else -1

        def ready(grid: NDArray[Any]) -> Tensor:
            placed = np.ascontiguousarray(grid.swapaxes(-1, -2) if axis == -2 else grid)
            return torch.from_numpy(placed).to(device, dtype)

        def laid(grid: NDArray[Any]) -> Tensor:
            """In the order of the matrix product: the bars of a block before the blocks."""
            padded = np.zeros((chunks * at_once * STRIDE, n))
            padded[: bars - first] = grid[first:]
            return ready(padded.reshape(chunks, at_once, STRIDE, n).swapaxes(1, 2))

        scale = known / (std * np.sqrt(window - 1.0))
        return cls(ready(frames), laid(z), laid(scale), laid(known), axis, bars, window)

    def by_bar(self, grid: Tensor) -> Tensor:
        """A grid like `z`, (..., C, S, Q, N), as (..., R, N); 0 before the first whole window."""
        placed = grid.transpose(-1, -2) if self.axis == -2 else grid
        first = min(self.window - 1, self.bars)
        rows = placed.transpose(-2, -3).flatten(-4, -2)[..., : self.bars - first, :]
        return nn.functional.pad(rows, (0, 0, first, 0))


class Told(NamedTuple):
    """What the model says of each bar and asset, (R, N) each."""

    z: Tensor
    gate: Tensor
    residual: Tensor
    signal: Tensor
    weight: Tensor


class ClusterModel(nn.Module):
    """Centroids (K, W), and five numbers that are kept in range: the positive ones as logarithms, the similarity
    threshold as its inverse hyperbolic tangent. What `recipe.frozen` names has no gradient."""

    def __init__(self, recipe: ClusterTraining, centroids: Floats) -> None:
        super().__init__()
        self.centroids = nn.Parameter(torch.from_numpy(np.asarray(centroids, np.float32)))
        for name in LEARNED[1:]:
            self.register_parameter(name, nn.Parameter(torch.tensor(_free(name, getattr(recipe, name)))))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in recipe.frozen)

    @classmethod
    def like(cls, model: Clusters, recipe: ClusterTraining) -> "ClusterModel":
        """A model that begins as a trained one, but for the numbers that are frozen: those are the recipe's."""
        made = cls(recipe, model.centroids)
        with torch.no_grad():
            for name in set(LEARNED[1:]) - set(recipe.frozen):
                getattr(made, name).fill_(_free(name, getattr(model, name)))
        return made

    def value(self, name: str) -> Tensor:
        """One of the five numbers, in its own unit."""
        raw: Tensor = getattr(self, name)
        limited: Tensor = raw.tanh() if name == "similarity_threshold" else raw.exp()
        return limited

    def directions(self) -> Tensor:
        """(K, W) centroids, centred and of length one."""
        centred = self.centroids - self.centroids.mean(1, keepdim=True)
        unit: Tensor = centred / centred.square().sum(1, keepdim=True).sqrt()
        return unit

    def clusters(self) -> Clusters:
        """The model as it is scored without torch."""
        raw = self.centroids.detach().cpu().double().numpy()
        centred = raw - raw.mean(axis=1, keepdims=True)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        return Clusters(unit, *(float(self.value(name).detach()) for name in LEARNED[1:]))

    def forward(self, windows: Windows) -> Told:
        """What the model says of every bar of `windows`."""
        gate, residual, signal = self._signal(windows)
        return Told(*(windows.by_bar(grid) for grid in (windows.z, gate, residual, signal, WEIGHT * signal)))

    def weights(self, windows: Windows) -> Tensor:
        """(R, N) the weights alone: all that the loss looks at."""
        return WEIGHT * windows.by_bar(self._signal(windows)[-1])

    def _signal(self, windows: Windows) -> tuple[Tensor, Tensor, Tensor]:
        """Gate, residual and signal, laid as `Windows.z`."""
        sharpness = self.value("scaling_factor")
        arguments = (self.directions(), sharpness / self.value("temp"), self.value("similarity_threshold"))
        gate, residual = _strays(*arguments, windows)
        far = residual.abs()
        rising = torch.sigmoid(sharpness * (far - self.value("threshold")))
        falling = torch.sigmoid(sharpness * (self.value("stop_threshold") - far))
        return gate, residual, -torch.sign(residual) * rising * falling * gate

    def similarities(self, windows: Windows) -> Tensor:
        """(K, R, N) cosines of features and centroids, without a gradient; 0 where there is no feature."""
        with torch.no_grad():
            band = _band(self.directions())
            return windows.by_bar(torch.stack([_similar(band, part) for part in _parts(windows)], 1))


def _free(name: str, value: float) -> float:
    return float(np.arctanh(value) if name == "similarity_threshold" else np.log(value))


class _Part(NamedTuple):
    """One chunk: `frames` (L, Q N); `z`, `scale` and `known` (S, Q, N), or (S, N, Q), with `axis` of the assets."""

    frames: Tensor
    z: Tensor
    scale: Tensor
    known: Tensor
    axis: int


def _parts(windows: Windows) -> Iterator[_Part]:
    for c, frames in enumerate(windows.frames):
        yield _Part(frames.flatten(1), windows.z[c], windows.scale[c], windows.known[c], windows.axis)


def _band(directions: Tensor) -> Tensor:
    """(K S, W+S-1): row (k, s) is centroid k, shifted by s bars."""
    band = directions.new_zeros((len(directions) * STRIDE, directions.shape[1] + STRIDE - 1))
    _shifts(band, *directions.shape).copy_(directions[:, None, :])
    return band


def _shifts(band: Tensor, clusters: int, window: int) -> Tensor:
    """(K, S, W), the entries of a band that are not always zero."""
    length = window + STRIDE - 1
    return band.as_strided((clusters, STRIDE, window), (STRIDE * length, length + 1, 1))


def _similar(band: Tensor, part: _Part) -> Tensor:
    """(K, S, Q, N) similarities of a chunk."""
    return (band @ part.frames).view(-1, *part.scale.shape).mul_(part.scale)


class _Crowd(NamedTuple):
    """Of one chunk: `similar` and `share` (K, S, Q, N); `gate` and `best` similarity (S, Q, N); `mass` and `pull`
    (K, S, Q, 1), the sums over all assets of gate share, and of that times z."""

    similar: Tensor
    share: Tensor
    gate: Tensor
    best: Tensor
    mass: Tensor
    pull: Tensor


class _Strays(torch.autograd.Function):
    """Gate and residual of every feature, laid as `Windows.z`, from centroids (K, W), sharpness (scaling_factor /
    temp) and level (similarity_threshold)."""

    @staticmethod
    def forward(ctx: Any, directions: Tensor, sharpness: Tensor, level: Tensor, windows: Windows) -> Any:
        band = _band(directions)
        gates, residuals = torch.empty_like(windows.z), torch.empty_like(windows.z)
        keep = windows.z.numel() * len(directions) <= KEPT
        ctx.kept = []
        for c, part in enumerate(_parts(windows)):
            crowd = _gather(band, sharpness, level, part)
            apart, _ = _disagree(crowd, part)
            gates[c] = crowd.gate
            torch.mul(apart.mul_(crowd.share).sum(0), part.known, out=residuals[c])
            ctx.kept.append(crowd if keep else None)
        ctx.save_for_backward(directions, sharpness, level, residuals)
        ctx.windows = windows
        return gates, residuals

    @staticmethod
    def backward(ctx: Any, of_gates: Tensor, of_residuals: Tensor) -> Any:
        directions, sharpness, level, residuals = ctx.saved_tensors
        band = _band(directions)
        to_band = torch.zeros_like(band)
        to_sharpness, to_level = torch.zeros_like(sharpness), torch.zeros_like(level)
        for c, part in enumerate(_parts(ctx.windows)):
            of_gate, of_residual = of_gates[c], of_residuals[c] * part.known
            if not (of_gate.any() or of_residual.any()):
                continue  # bars that the loss does not look at
            crowd = ctx.kept[c] or _gather(band, sharpness, level, part)
            logits, of_best = _slopes(crowd, part, of_gate, of_residual, residuals[c])
            to_level -= of_best.sum()
            to_sharpness += torch.dot(logits.view(-1), crowd.similar.view(-1))
            nearest = torch.eq(crowd.similar, crowd.best, out=torch.empty_like(logits))
            to_product = logits.mul_(sharpness * part.scale).add_(nearest.mul_(of_best * part.scale))
            to_band.addmm_(to_product.view(len(band), -1), part.frames.t())
        return _shifts(to_band, *directions.shape).sum(1), to_sharpness, to_level, None


def _strays(directions: Tensor, sharpness: Tensor, level: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
    gate, residual = _Strays.apply(directions, sharpness, level, windows)  # type: ignore[no-untyped-call]
    return gate, residual


def _gather(band: Tensor, sharpness: Tensor, level: Tensor, part: _Part) -> _Crowd:
    """Similarities, shares, gates, and what all assets together say of each cluster."""
    similar = _similar(band, part)
    best = similar.amax(0)
    share = torch.softmax(similar * sharpness, 0)
    gate = torch.sigmoid(GATE_SHARPNESS * (best - level)).mul_(part.known)
    weight = share * gate
    mass = weight.sum(part.axis, keepdim=True)
    pull = weight.mul_(part.z).sum(part.axis, keepdim=True)
    return _Crowd(similar, share, gate, best, mass, pull)


def _disagree(crowd: _Crowd, part: _Part) -> tuple[Tensor, Tensor]:
    """(K, S, Q, N) how far each asset stands from the others of each cluster, and 1 / the others' weight."""
    over = crowd.share * crowd.gate
    torch.sub(crowd.mass + OWN, over, out=over).reciprocal_()
    apart = (crowd.mass * part.z).sub_(crowd.pull).mul_(over)
    return apart, over


def _slopes(
    crowd: _Crowd, part: _Part, of_gate: Tensor, of_residual: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients by sharpness x similarity (K, S, Q, N), through the shares, and by the best similarity (S, Q, N),
    through the gate, given those by gate and residual (S, Q, N).

    With weight w = gate share, mass m = sum w, pull p = sum w z and apart a = (m z - p) / (m - w + OWN), sums over
    assets, the residual is r = sum_k share a. Let u = share / (m - w + OWN) times the gradient by r. Then that by w
    is u a of the asset itself, and sum u (z - a) - z' sum u, with its own z': what it is to the others."""
    apart, over = _disagree(crowd, part)
    u = over.mul_(crowd.share).mul_(of_residual)
    to_weight = u * apart
    to_pull = u.sum(part.axis, keepdim=True).neg_()
    to_mass = u.mul_(part.z).sub_(to_weight).sum(part.axis, keepdim=True)
    to_weight.add_(to_mass).add_(torch.mul(to_pull, part.z, out=u))
    through = torch.mul(to_weight, crowd.share, out=u).sum(0)
    mean = of_residual * residual + crowd.gate * through  # sum_k share times the gradient by share
    logits = to_weight.mul_(crowd.gate).add_(apart.mul_(of_residual)).sub_(mean).mul_(crowd.share)
    return logits, (of_gate + through).mul_(GATE_SHARPNESS * crowd.gate * (1.0 - crowd.gate))
