"""`data:digits`: scikit-learn's 1,797 handwritten digits as PNG files in ten folders, so that they are read like anybody's pictures.

Source: E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

SIDE = 64  # 8 × 8 pixels enlarged eight times: encoders of photographs see strokes, not a handful of squares


def write_digits(folder: Path) -> None:
    """Write `folder`/DIGIT/digit_NNNN.png, NNNN the row in scikit-learn's table: grey, white on black, bicubic. Raises OSError."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    held = load_digits()
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
    for row, (picture, digit) in enumerate(zip(held.images, held.target, strict=True)):
        grey = Image.fromarray(np.rint(picture * (255.0 / 16.0)).astype(np.uint8))
        enlarged = grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        enlarged.save(folder / str(digit) / f"digit_{row:04d}.png", format="PNG")
