"""Class names as vectors beside the items: what zero-shot and named strategies start from.

Three cases, by encoder: a text encoder encodes the names itself; a joint encoder (CLIP, SigLIP) has a text tower in the same
space; a picture encoder with a classifier is bridged: the bundled text encoder compares the names with the classifier's own
class names. Any other picture encoder knows nothing of words, and the named strategies say so.
Legend: C classes, D dims of the items' space, K classes of the picture encoder's own classifier, T dims of the text space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.encoders.base import Classifier, Encoder
from graft.encoders.open import BUNDLED, has_text_tower, open_encoder
from graft.encoding import encode
from graft.heads.base import unit_rows
from graft.heads.zero_shot import synthesised_names
from graft.store.cache import VectorCache
from graft.strategies.frozen import Bridge, Task


def name_classes(encoder: Encoder, class_texts: Sequence[str], *, cache: VectorCache | None) -> Task:
    """The task of telling `class_texts` (one a class, in the order of the codes) apart in the space of `encoder`."""
    info = encoder.info
    if info.modality == "text":
        return Task(len(class_texts), names_CD=_encode(encoder, class_texts, cache), names_source="text")
    other = open_encoder(info.reference, modality="text") if has_text_tower(encoder) else None
    if other is not None:
        return Task(len(class_texts), names_CD=_encode(other, class_texts, cache), names_source="joint")
    classifier = encoder.classifier()
    if classifier is None:
        return Task(len(class_texts))
    return _bridged(classifier, class_texts, cache)


def _bridged(classifier: Classifier, class_texts: Sequence[str], cache: VectorCache | None) -> Task:
    """The class-name bridge; names it makes in the items' space are blends of the classifier's own class weights."""
    text = open_encoder(BUNDLED["text"])
    own_KT = _encode(text, classifier.names, cache)
    asked_CT = _encode(text, class_texts, cache)
    cosines_CK = asked_CT @ own_KT.T
    bridge = Bridge(classifier.weight, classifier.bias, cosines_CK)
    names_CD = synthesised_names(classifier.weight, cosines_CK).astype(np.float32)
    return Task(len(class_texts), names_CD=names_CD, names_source="bridge", bridge=bridge)


def _encode(encoder: Encoder, texts: Sequence[str], cache: VectorCache | None) -> NDArray[np.float32]:
    return unit_rows(encode(list(texts), encoder, cache=cache, remember=False).vectors)
