"""How far items are from what an encoder knows, by something cheap that is said with the verdict.

Pictures: how undecided the encoder's own ImageNet classifier is about them, the mean entropy of its probabilities over that of a guess
(0 sure, 1 clueless). Texts: letters a token, for a tokenizer cuts words it has often met into few pieces and strange ones into many, and the share of
tokens it does not know at all. Neither says how hard the classes are: steel surfaces are as strange as can be to EfficientNet, and easily
told apart. It says whether class names will mean something, and how far experience from everyday items holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content
from graft.encoders.base import Encoder
from graft.heads.base import log_softmax

LOOKED_AT = 200  # items; the mean entropy of 80 pictures stands within .03
# Mean entropy of 80 pictures by EfficientNet-Lite0: CIFAR-10 .39, Tiny-ImageNet .48, Fashion-MNIST .60, USPS .67, MNIST .69, NEU surface
# defects .80.
NEAR_ENTROPY, FAR_ENTROPY = 0.55, 0.65
# Letters and signs a token of 200 texts by MiniLM: SciFact 4.1, SST-2 4.0, AG News 3.9, Banking77 3.4; Python code 2.7, a little German 2.5,
# JavaScript 2.1, SMILES of molecules 1.2, Chinese 1.0.
NEAR_LETTERS, FAR_LETTERS = 3.2, 2.9
UNKNOWN_SHARE = 0.02  # of the tokens; in English next to none
WORDS = {"near": "near", "between": "somewhat apart from", "far": "far from", "unknown": "at an unknown distance from"}
# What people call the domains they work in, for advice without data. Whatever is not listed is of unknown distance.
KNOWN_DOMAINS = {
    "image": {
        "near": "animal animals bird birds dog dogs cat cats pet pets insect insects flower flowers plant plants fruit food vehicle vehicles "
        "car cars furniture scene scenes landscape photo photos product products object objects nature street",
        "far": "metal surface surfaces defect defects steel weld texture textures xray radiograph radiology mri ct ultrasound medical histology "
        "pathology microscopy cell cells satellite aerial remote radar sar infrared thermal spectrogram digit digits handwriting handwritten "
        "document documents scan scans diagram diagrams drawing drawings sketch sketches icon icons glyph glyphs chart charts",
    },
    "text": {
        "near": "review reviews news question questions email emails mail message messages chat support intent intents tweet tweets comment comments "
        "opinion sentiment topic topics headline headlines article articles banking customer film films movie movies",
        "far": "code source dna protein molecule molecules smiles chemistry legal contract contracts clinical patent patents log logs "
        "german french spanish italian chinese japanese arabic russian hindi multilingual",
    },
}


@dataclass(frozen=True)
class Distance:
    """How far items are from what an encoder knows: `verdict` is near, between, far or unknown; `value` what was measured, in the unit that
    `measure` names; `words` say it in a sentence."""

    verdict: str
    measure: str = ""
    value: float | None = None
    words: str = ""


def measure(encoder: Encoder, contents: Sequence[Content], x_ND: NDArray[np.float32]) -> Distance:
    """Of some contents and their vectors (N, D) by this encoder; unknown for pictures where it has no classifier."""
    if not len(contents):
        return Distance("unknown", words="There are no items to tell by.")
    if encoder.info.modality == "text":
        return of_texts(encoder, [str(content) for content in contents[:LOOKED_AT]])
    classifier = encoder.classifier()
    if classifier is None:
        return Distance(
            "unknown",
            words=f"{encoder.info.reference} has no classifier of its own that could say how strange the pictures are to it.",
        )
    logits_NK = x_ND[:LOOKED_AT].astype(np.float64) @ classifier.weight.T.astype(np.float64) + classifier.bias
    return of_logits(np.asarray(logits_NK), encoder.info.reference)


def of_logits(logits_NK: NDArray[np.float64], reference: str) -> Distance:
    """From the logits of an encoder's own classifier."""
    logs_NK = log_softmax(logits_NK)
    value = float(-(np.exp(logs_NK) * logs_NK).sum(axis=1).mean() / np.log(logits_NK.shape[1]))
    verdict = "near" if value < NEAR_ENTROPY else "far" if value > FAR_ENTROPY else "between"
    named = {
        "near": "as for photos of everyday things",
        "between": "between photos and drawings",
        "far": "as for digits, X-rays or surfaces",
    }
    words = (
        f"{reference}'s own classifier is undecided by {value:.2f} (0 sure, 1 clueless), {named[verdict]}: "
        f"the pictures are {WORDS[verdict]} what it has learned."
    )
    return Distance(verdict, "entropy", value, words)


def of_texts(encoder: Encoder, texts: Sequence[str]) -> Distance:
    """From how the encoder's tokenizer cuts texts."""
    frame = len(encoder.prepare([""])[0])  # what is set around every text
    most = encoder.info.max_tokens or np.inf
    whole = [(text, ids) for text, ids in zip(texts, encoder.prepare(list(texts)), strict=True) if len(ids) < most]
    if not whole:  # all are cut off, and letters of which no token tells must not count: a sign is four tokens at most
        starts = [" ".join(text.split())[: int(most) // 4] for text in texts]
        whole = list(zip(starts, encoder.prepare(starts), strict=True))
    tokens = sum(max(0, len(ids) - frame) for _, ids in whole)
    letters = sum(len(re.sub(r"\s+", "", text)) for text, _ in whole)
    if not tokens:
        return Distance("unknown", words="The texts are empty to the encoder.")
    value = letters / tokens
    strange = _unknown(encoder, [ids for _, ids in whole]) / tokens
    verdict = "near" if value > NEAR_LETTERS else "far" if value < FAR_LETTERS else "between"
    verdict = "far" if strange > UNKNOWN_SHARE else verdict
    named = {
        "near": "as for everyday English",
        "between": "less than for everyday English",
        "far": "as for code or foreign languages",
    }
    words = f"{encoder.info.reference} has {value:.1f} letters a token, {named[verdict]}"
    words += f", and {strange:.0%} of the tokens are unknown to it" if strange > UNKNOWN_SHARE else ""
    return Distance(verdict, "letters a token", value, f"{words}: the texts are {WORDS[verdict]} what it has learned.")


def _unknown(encoder: Encoder, rows: Sequence[NDArray[np.int64]]) -> int:
    """How many tokens are the tokenizer's sign for what it does not know: the id of one it cannot have met, where it gives one id."""
    probe = encoder.prepare(["\ue0a7"])[0]  # a private sign, in no vocabulary
    inner = probe[len(probe) // 2] if len(probe) == len(encoder.prepare([""])[0]) + 1 else None
    return 0 if inner is None else int(sum(np.count_nonzero(ids == inner) for ids in rows))


def of_words(domain: str, modality: str | None) -> tuple[Distance, str | None]:
    """The distance that a domain's name suggests, and the modality: the one given, or the one whose list knows a word."""
    words = set(re.split(r"[^a-z]+", domain.lower().replace("x-ray", "xray"))) - {""}
    kinds = [modality] if modality else ["image", "text"]
    for kind in kinds:
        for verdict in ("far", "near"):  # one strange word is enough: "photos of welds" are far
            met = sorted(words & set(KNOWN_DOMAINS[kind][verdict].split()))
            if met:
                told = f"{', '.join(met)}: {'texts' if kind == 'text' else 'pictures'} of that kind are {WORDS[verdict]} what the bundled encoder has learned."
                return Distance(verdict, "words", None, told), kind
    said = f"Nothing is known of {domain!r}" if words else "No domain is named"
    return Distance("unknown", "", None, f"{said}, so no distance is taken for granted."), modality
