"""Texts without labels that a training should not make strange to the encoder: how well it guesses their masked tokens, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.encoders.text import TextEncoder
from graft.encoders.tuned import TunedEncoder
from graft.errors import UsageError
from graft.results import Retained

if TYPE_CHECKING:
    from torch import Tensor

    from graft.encoders.base import Encoder

NAME, MEASURE = "masked tokens", "masked-token loss, nats"
AS_THE_MODEL = ("weights", "lora")  # kinds of changes after which the graph has the model's own weights, and no others


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts with the loss (nats a masked token) before the training; `folder` holds the model with its head."""

    folder: Path
    texts: tuple[str, ...]
    before: float
    seed: int

    @classmethod
    def of(cls, encoder: Encoder, texts: Sequence[str], seed: int) -> Corpus:
        """Measured with the encoder as it is. Raises UsageError where it has no head that guesses tokens, DataError for texts without tokens."""
        from graft.trainers.retained import masked_token_loss

        folder = masked_folder(encoder)
        before = masked_token_loss(folder, _state(encoder), texts, seed) if folder is not None else None
        if folder is None or before is None:
            raise UsageError(no_head(encoder.info.reference))
        return cls(folder, tuple(texts), before, seed)

    def kept(self, tuned: TunedEncoder) -> Retained | None:
        """What is left after the training; None where it put in layers that the model does not have."""
        from graft.trainers.retained import masked_token_loss

        if masked_folder(tuned) != self.folder:
            return None
        after = masked_token_loss(self.folder, _state(tuned), self.texts, self.seed)
        assert after is not None, "the folder had its head before"
        return Retained(NAME, MEASURE, self.before, after)


def masked_folder(encoder: Encoder) -> Path | None:
    """The folder of the text model whose weights are the encoder's, where there is one; it need not hold a head."""
    if isinstance(encoder, TunedEncoder):
        return masked_folder(encoder.base) if encoder.changes.kind in AS_THE_MODEL else None
    return encoder.plan.model if isinstance(encoder, TextEncoder) else None


def no_head(reference: str) -> str:
    """Why texts without labels say nothing of what this encoder forgets, and the way out."""
    return (
        f"What is forgotten of texts without labels is told by guessing masked tokens, and {reference} holds no head that guesses them "
        "(BERT's cls.predictions, RoBERTa's lm_head): name labelled texts, or an encoder that was saved with that head."
    )


def _state(encoder: Encoder) -> dict[str, Tensor]:
    return dict(encoder.module().state_dict())
