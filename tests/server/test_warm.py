"""Encoders are read before anybody asks: told in `/health` meanwhile, without keeping others waiting, and failing in the open."""

from __future__ import annotations

import csv
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.server.conftest import running
from tests.server.test_page import ToyModel
from tests.server.toy import DIM, text_index

import graft
from graft import fidelity
from graft.errors import MissingError
from graft.server.pictures import Uploaded, blank


@dataclass(eq=False)
class SlowModel(ToyModel):
    """Takes until `may` is set to read its encoder, and then remembers by what."""

    modality: str = "text"
    may: threading.Event = field(default_factory=threading.Event)
    by: list[Any] = field(default_factory=list)

    def warm(self, content: Any) -> None:
        assert self.may.wait(20)
        self.by.append(content)


class BrokenModel(ToyModel):
    def warm(self, content: Any) -> None:
        del content
        raise MissingError("There is no encoder at /home/somebody/encoder.")


def ask(url: str, name: str = "goods") -> httpx.Response:
    return httpx.post(f"{url}/v1/models/{name}/predict", json={"texts": ["rye bread"]}, timeout=20)


def test_an_index_answers_while_a_model_is_read() -> None:
    model, pictures = SlowModel(), SlowModel("image")
    with running({"texts": text_index()}, {"goods": model, "pictures": pictures}, warm=False) as (url, releases):
        while "texts" in releases.warming:
            time.sleep(0.01)
        health = httpx.get(f"{url}/health").json()
        assert (health["status"], health["warming"], health["cold"]) == ("warming", ["goods", "pictures"], {})
        vector = httpx.post(f"{url}/v1/indexes/texts/vectors", json={"vector": [1.0] * DIM})
        assert vector.status_code == 200
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(ask(url)))
        asking.start()
        time.sleep(0.2)
        model.may.set()
        asking.join(20)  # what was asked meanwhile does not wait for the next encoder
        assert answers[0].json()["predictions"][0]["label"] == "bread"
        assert httpx.get(f"{url}/health").json()["warming"] == ["pictures"]
        pictures.may.set()
        while releases.warming:
            time.sleep(0.01)
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert model.by == ["ready"]
    assert isinstance(pictures.by[0], Uploaded)


def test_an_encoder_that_cannot_be_read_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with running({"texts": text_index()}, {"broken": BrokenModel(), "goods": ToyModel()}) as (url, _):
        health = httpx.get(f"{url}/health").json()
        assert (health["status"], health["warming"]) == ("cold", [])
        assert health["cold"] == {"broken": "its encoder cannot be read (MissingError)"}  # and not where it lies
        assert ask(url).status_code == ask(url, "broken").status_code == 200  # whatever can answer does
    assert "broken: its encoder cannot be read, and it cannot answer: There is no encoder at /home" in caplog.text


def test_a_fitted_model_is_warm_after_one_picture_past_the_cache(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / f"{i}.png")
    for column in ("light:number", "kind:classes"):
        with (tmp_path / "data.csv").open("w", newline="") as stream:
            rows = [(f"{i}.png", i / 7 if column[0] == "l" else "ab"[i % 2]) for i in range(12)]
            csv.writer(stream).writerows([("image", column.split(":")[0]), *rows])
        out = tmp_path / column[0]
        graft.fit(tmp_path / "data.csv", label=column, encoder="pixels:4", out=out)
        graft.load(out).answer([blank()], ["blank"])
        model = graft.load(out)
        model.answer([blank()], ["blank"])
        assert not fidelity._opened.get(model._encoder)  # what the cache knows reads no encoder
        model.warm(blank())
        assert fidelity._opened[model._encoder]
