"""What is left of another task after a training: the masked-token loss of a text model, and a probe on retained data.

Legend: N items, D dims, B texts of a batch, T tokens, V words of the vocabulary, M masked tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from graft.data.splits import folds
from graft.encoders import folders
from graft.errors import DataError, ModelError
from graft.heads.base import FloatArray, IntArray
from graft.heads.linear import LinearHead

MASKED = 0.15  # of the tokens (Devlin et al. 2019)
BATCH, MOST_TOKENS = 16, 128
FOLDS = 5


def masked_token_loss(
    folder: Path, body_state: Mapping[str, Tensor] | None, texts: Sequence[str], seed: int
) -> float | None:
    """Mean loss in nats with which a text model guesses masked tokens of `texts`; None where its folder holds no head that guesses.

    The head (BERT's `cls.predictions`, RoBERTa's `lm_head`, whatever transformers' AutoModelForMaskedLM loads whole) is the folder's; the body below
    it has the weights of `body_state` (a `state_dict` of the body or of the encoder's module, with adapters merged; what stands before the
    model's own names does not matter), or the folder's where that is None. 15 % of each text's tokens, at least one, are replaced by the mask token,
    the same ones for the same texts and seed, so that before and after are compared on equal terms. Texts are cut at 128 tokens.

    Raises ModelError where the folder cannot be loaded or the state lacks weights of the model, DataError where no text has a token to mask.
    """
    opened = _open(folder)
    if opened is None:
        return None
    model, tokenizer = opened
    if body_state is not None:
        _put_in(model.base_model, body_state, folder)
    rng, loss, count = np.random.default_rng(seed), 0.0, 0
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            list(texts[start : start + BATCH]),
            truncation=True,
            max_length=min(MOST_TOKENS, tokenizer.model_max_length),
            padding=True,
            return_special_tokens_mask=True,
            return_tensors="np",
        )
        masked_BT = _masked(batch.pop("special_tokens_mask") == 0, rng)
        if not masked_BT.any():
            continue
        ids_BT = torch.from_numpy(np.asarray(batch["input_ids"], np.int64))
        inputs = {name: torch.from_numpy(np.asarray(array, np.int64)) for name, array in batch.items()}
        inputs["input_ids"] = torch.where(masked_BT, tokenizer.mask_token_id, ids_BT)
        with torch.no_grad():
            logits_MV = model(**inputs).logits[masked_BT]
        loss += float(cross_entropy(logits_MV.float(), ids_BT[masked_BT], reduction="sum"))
        count += int(masked_BT.sum())
    if not count:
        raise DataError(f"None of the {len(texts)} texts has a token that could be masked.")
    return loss / count


def guesses_tokens(folder: Path) -> bool:
    """Whether the folder's model has a head that guesses masked tokens. Raises ModelError where it cannot be loaded."""
    return _open(folder) is not None


def retained_probe(x_before_ND: FloatArray, x_after_ND: FloatArray, y_N: IntArray, seed: int) -> tuple[float, float]:
    """Accuracy (0..1) of a linear probe on retained data with the body's vectors before and after a training.

    The probe (`LinearHead`, c = 1) is fitted anew on each, on the same 5 folds (fewer where there are fewer items), and every item is judged by the
    fold it was held out of: what counts is what can still be read from the vectors. `y_N` are class codes >= 0.

    Raises DataError where there are not as many labels as vectors, or fewer than two classes.
    """
    if not len(x_before_ND) == len(x_after_ND) == len(y_N):
        raise DataError(
            f"The retained data have {len(y_N)} labels, {len(x_before_ND)} vectors before and {len(x_after_ND)} after the training."
        )
    classes, codes_N = np.unique(y_N, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"The retained data have {len(classes)} classes; a probe needs two at least.")
    pairs = folds(codes_N.astype(np.int64), None, min(FOLDS, len(codes_N)), 1, np.random.default_rng(seed))
    before, after = (_held_out(x_ND, codes_N, len(classes), pairs) for x_ND in (x_before_ND, x_after_ND))
    return before, after


def _held_out(
    x_ND: FloatArray, y_N: IntArray, n_classes: int, pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> float:
    right = 0
    for train, held in pairs:
        probe = LinearHead().fit(x_ND[train], y_N[train], n_classes)
        right += int((probe.logits(x_ND[held]).argmax(axis=1) == y_N[held]).sum())
    return right / len(y_N)


def _open(folder: Path) -> tuple[Any, Any] | None:
    """The folder's model with its masked-token head, in evaluation mode, and its tokenizer; None where either cannot be had."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if folders.model_config(folder)["model_type"] not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return None
    folders.weight_files(folder)
    try:
        with folders.quiet():
            model, report = AutoModelForMaskedLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (
        Exception
    ) as problem:  # transformers raises many kinds for one reason: the folder does not hold what it should
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise ModelError(f"{folder} cannot be loaded with its masked-token head: {reason}") from problem
    if report["missing_keys"] or report["mismatched_keys"]:  # a head made up at random guesses nothing
        return None
    return (model.eval(), tokenizer) if tokenizer.mask_token_id is not None else None


def _put_in(model: Any, state: Mapping[str, Tensor], folder: Path) -> None:
    """Copy the state's weights into the model. A decoder that shares the word table follows it."""
    ours = dict(model.named_parameters())
    first = next(iter(ours))  # tells what stands before the model's names in the state
    before = min((name.removesuffix(first) for name in state if name.endswith(first)), key=len, default="")
    if lacking := [name for name in ours if before + name not in state]:
        raise ModelError(f"These weights are not those of {folder}: they lack {', '.join(lacking[:3])}.")
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(state[before + name])


def _masked(open_BT: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
    """(B, T) bool: the tokens that are masked, a share of those that are open in each text, at least one."""
    drawn_BT = np.where(open_BT, rng.random(open_BT.shape), 2.0)
    wanted_B = np.minimum(np.maximum(1, np.rint(MASKED * open_BT.sum(axis=1))), open_BT.sum(axis=1))
    return torch.from_numpy(drawn_BT.argsort(axis=1).argsort(axis=1) < wanted_B[:, None])
