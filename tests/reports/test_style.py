"""The style sheet's colours can be read and told apart, in the light and in the dark, by all eyes.

Contrast: WCAG 2.1. Colour vision: Machado, Oliveira and Fernandes (2009), severity 1; distances in OKLab (Ottosson 2020).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

STYLE = (Path(__file__).parents[2] / "src" / "graft" / "reports" / "templates" / "style.css").read_text("utf-8")
SCHEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)[:2]
]

EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> NDArray[np.float64]:
    """Linear red, green and blue in 0..1 of `#rrggbb`."""
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def nearest(colours: list[str], eye: NDArray[np.float64]) -> float:
    """The least distance in OKLab between two of the colours, as the eye sees them."""
    seen = np.clip(np.array([linear(c) for c in colours]) @ eye.T, 0, 1)
    lab = np.cbrt(seen @ TO_LMS.T) @ TO_LAB.T
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distance[np.triu_indices(len(colours), 1)].min())


def test_contrast_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
def test_words_can_be_read(scheme: dict[str, str]) -> None:
    for ink in ("ink", "muted", "accent", "wrong"):
        for ground in ("paper", "raised"):
            assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
    assert contrast(scheme["ink"], scheme["soft"]) >= 7
    assert contrast(scheme["muted"], scheme["soft"]) >= 4.5
    assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5
    assert contrast(scheme["on-wrong"], scheme["wrong"]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
def test_marks_can_be_seen_and_told_apart(scheme: dict[str, str]) -> None:
    marks = [scheme[f"c{i}"] for i in range(10)]
    assert all(contrast(mark, scheme["raised"]) >= 2.7 for mark in marks)
    assert all(contrast(mark, scheme["paper"]) >= 3 for mark in marks)
    limits = {"all cones": 0.1, "protanopia": 0.09, "deuteranopia": 0.09, "tritanopia": 0.07}
    for name, eye in EYES.items():
        assert nearest(marks, eye) >= limits[name], name
        assert nearest([scheme["accent"], scheme["wrong"]], eye) >= 0.1, name


@pytest.mark.parametrize("number", [0, 1])
def test_triplets_repeat_their_colours(number: int) -> None:
    block = re.findall(r":root \{(.*?)\}", STYLE, re.S)[number]
    for name, triplet in re.findall(r"--(\w+)-rgb: ([\d ]+);", block):
        assert "#" + "".join(f"{int(v):02x}" for v in triplet.split()) == SCHEMES[number][name]
