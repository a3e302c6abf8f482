"""Pictures and texts made from nothing, that look like what people bring."""

from __future__ import annotations

import base64
import io

import numpy as np

SURFACES = ("crazing", "inclusion", "patches", "pitted_surface", "rolled_in_scale", "scratches")
TOPICS = (
    "card",
    "transfer",
    "top_up",
    "cash",
    "exchange_rate",
    "refund",
    "identity",
    "pin",
    "country",
    "fee",
    "account",
)
MATTERS = ("arrival", "declined", "pending", "lost", "not_recognised", "limit", "how_to")
WORDS = (
    "My {topic} has been {matter} since Tuesday and nobody could tell me why.",
    "Why is the {topic} still {matter}?",
    "Hello, I would like to know what {matter} means for a {topic}, because the app shows nothing at all and I have been waiting for two weeks now.",
    "{topic} {matter}",
)


def texture(kind: int, rng: np.random.Generator, side: int = 96) -> str:
    """A picture of a surface with one of six defects, as a data URI."""
    from PIL import Image, ImageDraw, ImageFilter

    grain = rng.normal(150 + 20 * rng.random(), 12, (side, side)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(grain).filter(ImageFilter.GaussianBlur(0.8))
    draw = ImageDraw.Draw(image)
    for _ in range((26, 5, 4, 40, 9, 5)[kind]):
        x, y, s = (float(v) for v in rng.uniform(0, side, 3))
        dark = int(rng.integers(40, 110))
        match kind:
            case 0:
                draw.line((x, y, x + rng.normal(0, 14), y + rng.normal(0, 14)), fill=dark, width=1)
            case 1:
                draw.ellipse((x, y, x + 5, y + 12 + s / 5), fill=dark)
            case 2:
                draw.ellipse((x - s / 4, y - s / 5, x + s / 4, y + s / 5), fill=225)
            case 3:
                draw.point((x, y), fill=dark - 20)
                draw.ellipse((x, y, x + 2, y + 2), fill=dark)
            case 4:
                draw.rectangle((x, y, x + s / 3, y + 4), fill=dark + 30)
            case _:
                draw.line((x, 0, x + rng.normal(0, 10), side), fill=235, width=2)
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.5)).convert("RGB").save(stream, "webp", quality=75)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def sentence(name: str, rng: np.random.Generator) -> str:
    """A customer's sentence about one class."""
    topic = next((t for t in TOPICS if name.startswith(t)), "thing")
    matter = name.removeprefix(topic + "_") or "odd"
    return WORDS[int(rng.integers(len(WORDS)))].format(topic=topic.replace("_", " "), matter=matter.replace("_", " "))
