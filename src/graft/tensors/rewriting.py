"""Augmentation of texts without a dictionary: words left out, words changed about, letters mistyped.

`augment_text` works on raw texts, which are then tokenised again; `token_augmentation` on batches of token ids, anew at every step, where nothing
has to be. Words that turn a meaning round (not, never, without) and words with digits stay as they are.

Legend: B texts of a batch, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graft.errors import UsageError, unknown
from graft.tensors.augment import Transform, read_names

RATE = 0.1  # of the words, as Wei & Zou (2019) found best for 500 texts and more; they take 0.05 for fewer
KEPT = re.compile(r"no|not|nor|none|never|neither|nothing|without|cannot|hardly|barely|\w*n['’]t|.*\d.*", re.IGNORECASE)
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
BESIDE = {letter: row[max(at - 1, 0) : at] + row[at + 1 : at + 2] for row in KEYBOARD for at, letter in enumerate(row)}


def augment_text(text: str, rng: np.random.Generator, names: Sequence[str], rate: float = RATE) -> str:
    """The text with a share `rate` of its words (those divided by white space) changed in each of the ways `names`, out of NAMES:

    - deletion: the word is left out (Wei & Zou 2019), never all of them;
    - swap: it changes places with the next (milder than Wei & Zou, who take any other);
    - typos: one letter is left out, doubled, changed about with the next, or becomes its neighbour on the keyboard. The first letter stays.

    White space stays beside its word. Raises UsageError for names that are not known and a rate outside 0..1.
    """
    _check(names, NAMES, rate)
    pieces: list[str] = re.findall(r"\S+\s*", text)
    indent = text[: len(text) - len(text.lstrip())]
    for name, kind in KINDS.items():
        if name in names:
            pieces = kind(pieces, rng, rate)
    return indent + "".join(pieces)


def augment_texts(texts: Sequence[str], names: Sequence[str], *, rate: float = RATE, seed: int = 0) -> list[str]:
    """`augment_text` of each text, each with a generator of (seed, its place), so that no text's changes depend on the others."""
    _check(names, NAMES, rate)
    return [augment_text(text, np.random.default_rng((seed, at)), names, rate) for at, text in enumerate(texts)]


def _deletion(pieces: list[str], rng: np.random.Generator, rate: float) -> list[str]:
    gone = (rng.random(len(pieces)) < rate) & ~_kept(pieces)
    if gone.all() and len(pieces):
        gone[rng.integers(len(pieces))] = False
    return [piece for piece, left_out in zip(pieces, gone, strict=True) if not left_out]


def _swap(pieces: list[str], rng: np.random.Generator, rate: float) -> list[str]:
    moved = (rng.random(len(pieces)) < rate) & ~_kept(pieces)
    words, spaces = [piece.rstrip() for piece in pieces], [piece[len(piece.rstrip()) :] for piece in pieces]
    for at in np.flatnonzero(moved[:-1]).tolist():
        if not KEPT.fullmatch(_bare(words[at + 1])):
            words[at], words[at + 1] = words[at + 1], words[at]
    return [word + space for word, space in zip(words, spaces, strict=True)]


def _typos(pieces: list[str], rng: np.random.Generator, rate: float) -> list[str]:
    hit = (rng.random(len(pieces)) < rate) & ~_kept(pieces)
    return [_mistyped(piece, rng) if mistyped else piece for piece, mistyped in zip(pieces, hit, strict=True)]


def _mistyped(word: str, rng: np.random.Generator) -> str:
    """The word with one slip of the fingers after its first letter; a word of fewer than three letters has no place for one."""
    letters = [at for at, letter in enumerate(word) if letter.isalpha()][1:]
    if len(letters) < 2:
        return word
    at, way = (
        letters[int(rng.integers(len(letters) - 1))],
        int(rng.integers(4)),
    )  # the next character is there to change with
    before, letter, after = word[:at], word[at], word[at + 1 :]
    beside = BESIDE.get(letter.lower(), "")
    if way == 0:
        return before + after
    if way == 1:
        return before + letter + letter + after
    if way == 2 or not beside:
        return before + after[0] + letter + after[1:]
    slip = beside[int(rng.integers(len(beside)))]
    return before + (slip.upper() if letter.isupper() else slip) + after


def _kept(pieces: Sequence[str]) -> NDArray[np.bool_]:
    """(words,) bool: those that carry too much of the meaning to be touched."""
    return np.array([bool(KEPT.fullmatch(_bare(piece))) for piece in pieces], bool)


def _bare(piece: str) -> str:
    """The word without white space and punctuation around it."""
    return re.sub(r"^\W+|\W+$", "", piece)


KINDS: Mapping[str, Callable[[list[str], np.random.Generator, float], list[str]]] = {
    "deletion": _deletion,
    "swap": _swap,
    "typos": _typos,
}
NAMES = tuple(KINDS)
TOKEN_NAMES = ("deletion", "swap")
RAW = "typos"  # what only raw texts can have
AUTO = ("deletion",)


# -- on token ids -----------------------------------------------------------------------------------------------------


def for_texts(augment: str, *, rate: float = RATE, pad_id: int = 0) -> Transform | None:
    """The transform of token ids that a recipe's `augment` asks for ("deletion+swap", "auto", "none"); None for none. Raises UsageError.

    "typos" is passed over: it is done to the texts (`augment_texts`) before they are tokenised.
    """
    names = [name for name in read_names(augment, NAMES, AUTO) if name != RAW]
    return token_augmentation(names, rate=rate, pad_id=pad_id) if names else None


def token_augmentation(names: Sequence[str], *, rate: float = RATE, pad_id: int = 0) -> Transform:
    """A transform of batches with `input_ids` and `attention_mask` (B, T), padded on either side: deletion and swap of single tokens.

    The first and the last token of each text (the special ones, where there are any) stay where they are; so does one token between them. What is
    left out becomes padding: the id that pads the batch already, `pad_id` in a batch without any. Here negations are not known and may be
    left out. Raises UsageError for names outside TOKEN_NAMES ("typos" needs raw texts: `augment_texts`), a rate outside 0..1, and a batch
    without token ids.
    """
    _check(names, TOKEN_NAMES, rate)

    def transform(batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        if "input_ids" not in batch:
            raise UsageError(f"{', '.join(names)}: these augmentations are for texts, and the items are none.")
        ids_BT, mask_BT = batch["input_ids"], batch["attention_mask"] != 0
        padding = ids_BT[~mask_BT][:1]
        pads = int(padding) if len(padding) else pad_id
        for name in TOKEN_NAMES:
            drawn_BT = torch.rand(ids_BT.shape, generator=generator, device=generator.device).to(ids_BT.device)
            if name in names:
                order_BT, mask_BT = _TOKEN_KINDS[name](mask_BT, drawn_BT, rate)
                ids_BT = ids_BT.gather(1, order_BT).masked_fill(~mask_BT, pads)
        return {**batch, "input_ids": ids_BT, "attention_mask": mask_BT.to(batch["attention_mask"].dtype)}

    return transform


def _inner(mask_BT: Tensor) -> Tensor:
    """(B, T) bool: tokens that are neither padding nor the first or last of their text."""
    place_BT = mask_BT.cumsum(dim=1)
    return mask_BT & (place_BT > 1) & (place_BT < place_BT[:, -1:])


def _leave_out(mask_BT: Tensor, drawn_BT: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """The order of the tokens with those left out moved to the padding, and the mask then."""
    inner_BT = _inner(mask_BT)
    gone_BT = inner_BT & (drawn_BT < rate)
    emptied_B = (gone_BT == inner_BT).all(dim=1)
    last_BT = inner_BT & (drawn_BT == drawn_BT.masked_fill(~inner_BT, -1.0).amax(dim=1, keepdim=True))
    gone_BT = gone_BT & ~(emptied_B[:, None] & last_BT)
    left_BT = mask_BT & ~gone_BT
    # padding stays on its side; a batch without any has it on the right, as nearly all tokenizers put it
    padded_left = bool((~mask_BT[:, 0]).any())
    order_BT = (left_BT if padded_left else ~left_BT).to(torch.uint8).argsort(dim=1, stable=True)
    return order_BT, left_BT.gather(1, order_BT)


def _hop(mask_BT: Tensor, drawn_BT: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """The order in which each token that is drawn has hopped over the next one, and the mask, which stays."""
    inner_BT = _inner(mask_BT)
    hops_BT = inner_BT & inner_BT.roll(-1, dims=1) & (drawn_BT < rate)
    place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return (place_T + 1.5 * hops_BT).argsort(dim=1, stable=True), mask_BT


_TOKEN_KINDS: Mapping[str, Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]] = {
    "deletion": _leave_out,
    "swap": _hop,
}


def _check(names: Sequence[str], allowed: Sequence[str], rate: float) -> None:
    wrong = [name for name in names if name not in allowed]
    if RAW in wrong:  # known, but not on token ids
        raise UsageError("typos needs raw texts, which are tokenised again; on token ids there are deletion and swap.")
    if wrong:
        raise UsageError(" ".join(unknown("The augmentation of texts", name, allowed) for name in wrong))
    if not 0 <= rate <= 1:
        raise UsageError(f"The rate of augmentation is a share of the words, within 0..1, not {rate}.")
