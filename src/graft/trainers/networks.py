"""Bodies with heads: what the loop trains. Each gives the vectors of a batch, and the logits of its head.

The head is a linear probe that can be trained: at the first step it answers exactly as the fitted probe, and it turns back into one.

Legend: B items of a batch, D dims, C classes, P classes with at least one example.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from graft import settings
from graft.encoders.runtime import find_device
from graft.heads.linear import LinearHead
from graft.trainers.body import Body, Split

SMALLEST = 1e-6  # under a square root, whose slope has no end at zero: features below it have a root but no slope


class ProbeHead(nn.Module):
    """Logits (B, P) of vectors (B, D) over the classes that have examples, as `LinearHead.logits` gives them.

    Weights and intercepts are trained; the centre of the vectors, and the class names with the trust in them, stay. In training the
    share `dropout` of the centred features is left out, for bodies without dropout of their own. (Left out before the centring a feature moves a
    vector farther than items lie apart.)
    """

    centre: Tensor
    names: Tensor
    names_centre: Tensor

    def __init__(self, head: LinearHead, *, start: str = "probe", seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self._head, self.dropout = head, nn.Dropout(dropout)
        self.root, self.named = head.normaliser.root, head.prior is not None
        coef, intercept = torch.from_numpy(head.coef_CD.astype(np.float32)), torch.from_numpy(head.intercept_C)
        self.pull = float(head.pull) if self.named else 0.0
        if start != "probe":
            coef, intercept, self.pull = torch.zeros_like(coef), torch.zeros_like(intercept), 0.0
        if start == "random":  # as torch starts a linear layer: uniform within 1 / sqrt(D)
            generator = torch.Generator().manual_seed(seed)
            coef = (2 * torch.rand(coef.shape, generator=generator) - 1) / coef.shape[1] ** 0.5
        self.coef, self.intercept = nn.Parameter(coef.clone()), nn.Parameter(intercept.float().clone())
        self.register_buffer("centre", _tensor(head.normaliser.centre_D, coef.shape[1]))
        if head.prior is not None:
            self.register_buffer("names", torch.from_numpy(head.prior.names_CD[head.present_C]).float())
            self.register_buffer("names_centre", _tensor(head.prior.normaliser.centre_D, coef.shape[1]))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Logits (B, P)."""
        seen_BD = _root(x_BD) if self.root else x_BD
        x_hat_BD = self.dropout(normalize(normalize(seen_BD) - self.centre))
        logits_BP: Tensor = x_hat_BD @ self.coef.T + self.intercept
        if self.named and self.pull:
            logits_BP = logits_BP + self.pull * (normalize(normalize(x_BD) - self.names_centre) @ self.names.T)
        return logits_BP

    def fitted(self) -> LinearHead:
        """The head as it now is, for vectors of the tuned body."""
        head = copy.copy(self._head)
        head.coef_CD = self.coef.detach().cpu().numpy().copy()
        head.intercept_C = self.intercept.detach().cpu().numpy().astype(np.float64)
        head.pull = self.pull
        return head


def _root(x_BD: Tensor) -> Tensor:
    """Square roots as the probe takes them, zero for what is negative, and with slopes that are finite everywhere."""
    plain_BD = x_BD.detach().clamp(min=0).sqrt()
    return torch.where(x_BD > SMALLEST, x_BD.clamp(min=SMALLEST).sqrt(), plain_BD)


def _tensor(centre_D: np.ndarray | None, dim: int) -> Tensor:
    return torch.zeros(dim) if centre_D is None else torch.from_numpy(np.asarray(centre_D, np.float32))


@contextlib.contextmanager
def at_work(module: nn.Module) -> Iterator[torch.device]:
    """While the block runs the module is where it computes fastest: on a GPU where there is one; afterwards where it was."""
    before = next(module.parameters()).device
    device = torch.device(find_device(settings.device())) if before.type == "cpu" else before
    if device != before:
        module.to(device)
    try:
        yield device
    finally:
        if device != before:
            module.to(before)


class Network(nn.Module):
    """A head on vectors that do not change, as `vectors` of a batch; the networks below make their vectors themselves.

    A `headless` network puts out its vectors: the body is trained by itself.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head, self.headless = head, False

    def vectors(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, D)."""
        return batch["vectors"]

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, P), or vectors (B, D) of a headless network."""
        x_BD = self.vectors(batch)
        logits: Tensor = x_BD if self.headless else self.head(x_BD)
        return logits


class WholeNetwork(Network):
    """A whole body under a head: batches hold what the encoder collates."""

    def __init__(self, body: Body, head: nn.Module) -> None:
        super().__init__(head)
        self.body = body

    def vectors(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, D), with their way back through all layers."""
        x_BD: Tensor = self.body(batch)
        return x_BD


class CutNetwork(Network):
    """The upper part of a body under a head: batches hold the `activations` that the frozen lower part puts out."""

    def __init__(self, split: Split, body: Body, head: nn.Module) -> None:
        super().__init__(head)
        self.body, self.split = body, split

    def vectors(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, D), with their way back as far as the cut."""
        activations = batch["activations"]
        if activations.dim() == 4:
            activations = activations.contiguous(memory_format=torch.channels_last)
        return self.split.upper(activations, batch)
