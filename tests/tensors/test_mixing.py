"""Mixup and cutmix: what is mixed and the targets go together, by hand and for every draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graft.errors import UsageError
from graft.tensors.augment import cutmix, either, mixup


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def telling(n: int, side: int = 16) -> Tensor:
    """Pictures whose every pixel says which picture it is: 10 times its number, in bytes."""
    return (10 * torch.arange(n, dtype=torch.uint8)).view(n, 1, 1, 1).expand(n, 3, side, side).contiguous()


@given(st.integers(1, 12), st.integers(0, 2**31), st.floats(0.05, 4))
@settings(max_examples=40, deadline=None)
def test_mixup_mixes_pictures_and_targets_by_the_same_share(n: int, seed: int, alpha: float) -> None:
    """Every picture is a class of its own, so its soft target says what its pixels must be."""
    batch = {"pixels": telling(n), "targets": torch.arange(n), "other": torch.arange(n)}
    mixed = mixup(alpha, n)(batch, generator(seed))
    shares_BC = mixed["targets"]
    torch.testing.assert_close(shares_BC.sum(dim=1), torch.ones(n))
    assert bool((shares_BC >= 0).all())
    assert int((shares_BC > 0).sum(dim=1).max()) <= 2
    expected_B = shares_BC @ (10.0 * torch.arange(n))
    torch.testing.assert_close(mixed["pixels"], expected_B.view(n, 1, 1, 1).expand(-1, 3, 16, 16))
    # partners are a permutation: what is given away by all is what is taken by all
    torch.testing.assert_close(mixed["pixels"], mixup(alpha, n)(batch, generator(seed))["pixels"], rtol=0, atol=0)
    assert mixed["other"] is batch["other"]
    assert torch.equal(batch["pixels"], telling(n))


def test_shares_follow_the_beta_distribution() -> None:
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))."""
    n, alpha = 4000, 0.2
    vectors = torch.arange(n, dtype=torch.float32)[:, None]
    batch = {"vectors": vectors, "targets": torch.arange(n) % 2}
    mixed = mixup(alpha, 2, key="vectors")(batch, generator())
    # where the partner has the other label the target is the share itself
    share = mixed["targets"][(mixed["targets"] > 0).all(dim=1), 0].double()
    assert len(share) > n / 4
    assert abs(float(share.mean()) - 0.5) < 0.03
    assert abs(float(share.var()) - 1 / (4 * (2 * alpha + 1))) < 0.02


def test_soft_targets_are_mixed_on() -> None:
    soft = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    mixed = mixup(1.0, 2)({"pixels": telling(2), "targets": soft}, generator(3))
    share = 1 - mixed["pixels"][0, 0, 0, 0] / 10  # of picture 0 in itself
    torch.testing.assert_close(mixed["targets"][0], share * soft[0] + (1 - share) * soft[1])


@given(st.integers(1, 12), st.integers(0, 2**31), st.floats(0.05, 4))
@settings(max_examples=40, deadline=None)
def test_cutmix_targets_are_the_areas(n: int, seed: int, alpha: float) -> None:
    batch = {"pixels": telling(n), "targets": torch.arange(n)}
    mixed = cutmix(alpha, n)(batch, generator(seed))
    pixels = mixed["pixels"]
    assert pixels.dtype == torch.uint8
    for at in range(n):
        counts = np.bincount(pixels[at, 0].flatten().numpy() // 10, minlength=n)
        np.testing.assert_allclose(mixed["targets"][at].numpy(), counts / 256, atol=1e-6)
        foreign = (pixels[at, 0] != 10 * at).numpy()
        rows, columns = np.flatnonzero(foreign.any(axis=1)), np.flatnonzero(foreign.any(axis=0))
        if len(rows):  # one box, whole
            assert foreign[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert torch.equal(pixels, cutmix(alpha, n)(batch, generator(seed))["pixels"])


def test_boxes_have_the_proportions_of_the_picture_and_the_drawn_area() -> None:
    """Inside (not cut at an edge) a box of share 1 - l has both sides sqrt(1 - l) of the picture's."""
    pixels = telling(2, 8).repeat_interleave(8, dim=2).repeat_interleave(4, dim=3)  # 64 x 32
    seen = 0
    for seed in range(60):
        batch = {"pixels": pixels, "targets": torch.arange(2)}
        box = cutmix(1.0, 2)(batch, generator(seed))["pixels"][0, 0] != 0
        rows, columns = (np.flatnonzero(box.any(dim=axis).numpy()) for axis in (1, 0))
        inside = len(rows) and rows[0] > 0 and rows[-1] < 63 and columns[0] > 0 and columns[-1] < 31
        if inside:
            seen += 1
            assert abs(len(rows) - 2 * len(columns)) <= 3
    assert seen >= 5


def test_either_takes_one_for_each_batch() -> None:
    batch = {"pixels": telling(4), "targets": torch.arange(4)}
    transform = either([mixup(1.0, 4), cutmix(1.0, 4)])
    kinds = [transform(batch, generator(seed))["pixels"].dtype for seed in range(40)]
    assert 10 <= kinds.count(torch.float32) <= 30
    assert kinds.count(torch.uint8) == 40 - kinds.count(torch.float32)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mixup=0: its Beta parameter must be above 0"):
        mixup(0, 3)
    with pytest.raises(UsageError, match="cutmix=-1"):
        cutmix(-1, 3)
    texts = {"input_ids": torch.zeros(2, 3), "targets": torch.arange(2)}
    with pytest.raises(UsageError, match="mixup mixes pixels, and these items have none"):
        mixup(1.0, 2)(texts, generator())
    with pytest.raises(UsageError, match="cutmix mixes pixels"):
        cutmix(1.0, 2)(texts, generator())
