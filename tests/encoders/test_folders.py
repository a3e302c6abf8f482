"""Models' folders: found, checked, refused; and none of their code run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.encoders import folders
from graft.encoders.open import open_encoder
from graft.errors import MissingError, ModelError, UsageError


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bert_folder: Path) -> Path:
    """A Hugging Face cache that holds org/name as its commit abc, branch main."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "hub/models--org--name"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("abc\n")
    shutil.copytree(bert_folder, place / "snapshots/abc")
    return place


def test_a_cached_hub_model_is_used_as_it_is(hub: Path, bert_folder: Path) -> None:
    info = open_encoder("hub:org/name").info
    assert info.reference == "hub:org/name"
    assert info.fingerprint == open_encoder(f"dir:{bert_folder}").info.fingerprint
    assert folders.hub_folder("org/name@abc") == hub / "snapshots/abc"


@pytest.mark.parametrize("reference", ["org/other", "org/name@other"])
def test_a_hub_model_that_is_not_here_names_the_cache(reference: str, hub: Path) -> None:
    with pytest.raises(MissingError) as caught:
        open_encoder(f"hub:{reference}")
    assert str(hub.parent) in caught.value.message
    assert "GRAFT_OFFLINE" in caught.value.message


def test_a_half_fetched_hub_model_is_not_used(hub: Path) -> None:
    (hub / "snapshots/abc/model.safetensors").unlink()
    with pytest.raises(MissingError):
        open_encoder("hub:org/name")


def test_weights_may_lie_one_folder_down(hub: Path) -> None:
    """As older sentence-transformers wrote them."""
    snapshot = hub / "snapshots/abc"
    (snapshot / "0_Transformer").mkdir()
    (snapshot / "model.safetensors").rename(snapshot / "0_Transformer/model.safetensors")
    (snapshot / "modules.json").write_text("[]")
    assert folders.hub_folder("org/name") == snapshot


@pytest.mark.parametrize("name", ["org/name/more", "../x", "org/..", "a b"])
def test_a_malformed_hub_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="hub:org/name"):
        open_encoder(f"hub:{name}")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a/b"}, "/a/b"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_keeps_it(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert folders.hub_cache() == Path(expected)


class FakeHub:
    """Stands for the network: hands out a folder and notes what was asked for."""

    def __init__(self, folder: Path, weights: str) -> None:
        self.folder, self.weights = folder, weights
        self.asked: list[dict[str, Any]] = []

    def __call__(self, repository: str, **options: Any) -> str:
        self.asked.append({"repository": repository, **options})
        if self.weights == "none":
            raise OSError("the network is down\nand more")
        if self.weights in options["allow_patterns"] or self.weights == "*.safetensors":
            (self.folder / self.weights.replace("*", "model")).touch()
        return str(self.folder)


def fetch(
    weights: str, folder: Path, monkeypatch: pytest.MonkeyPatch, revision: str = ""
) -> tuple[FakeHub, Callable[[], Path]]:
    """A fake hub, and the call that fetches from it."""
    fake = FakeHub(folder, weights)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "empty"))
    return fake, lambda: folders.hub_folder("org/name" + revision)


def test_fetching_takes_no_code_and_prefers_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, call = fetch("*.safetensors", tmp_path, monkeypatch, "@v2")
    assert call() == tmp_path
    (asked,) = fake.asked
    assert (asked["repository"], asked["revision"]) == ("org/name", "v2")
    patterns = asked["allow_patterns"]
    assert not any(pattern.endswith((".py", ".pkl", ".bin", "*")) for pattern in patterns)


def test_fetching_falls_back_to_pickled_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, call = fetch("pytorch_model*.bin", tmp_path, monkeypatch)
    assert call() == tmp_path
    assert len(fake.asked) == 2
    assert "pytorch_model*.bin" in fake.asked[1]["allow_patterns"]


def test_a_failed_fetch_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, call = fetch("none", tmp_path, monkeypatch)
    with pytest.raises(MissingError, match="the network is down"):
        call()


@pytest.fixture
def folder(bert_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny BERT to damage."""
    copy = tmp_path / "bert"
    shutil.copytree(bert_folder, copy)
    return copy


def change_config(folder: Path, **changes: object) -> None:
    """Change entries of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_code_in_a_folder_is_refused(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')")
    change_config(folder, auto_map={"AutoModel": "modeling_evil.Evil"})
    with pytest.raises(ModelError, match="AutoModel"):
        open_encoder(f"dir:{folder}")
    assert not marker.exists()


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / "model.safetensors"))


def write_weights(folder: Path, tensors: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


KEY = "encoder.layer.1.output.dense.weight"


def test_missing_weights_are_refused_by_name(folder: Path) -> None:
    tensors = weights(folder)
    del tensors[KEY]
    write_weights(folder, tensors)
    with pytest.raises(ModelError, match=KEY):
        open_encoder(f"dir:{folder}").module()


def test_weights_of_another_shape_are_refused_by_name(folder: Path) -> None:
    write_weights(folder, {**weights(folder), KEY: np.zeros((3, 4), np.float32)})
    with pytest.raises(ModelError, match=KEY):
        open_encoder(f"dir:{folder}").module()


def test_more_layers_than_the_configuration_says_are_refused(folder: Path) -> None:
    change_config(folder, num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"no place for.*encoder\.layer\.1"):
        open_encoder(f"dir:{folder}").module()


def test_a_missing_pooler_and_a_surplus_head_do_not_matter(folder: Path) -> None:
    tensors = {name: tensor for name, tensor in weights(folder).items() if not name.startswith("pooler")}
    tensors = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    write_weights(folder, {**tensors, "cls.predictions.bias": np.zeros(4, np.float32)})
    assert open_encoder(f"dir:{folder}").module() is not None


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        assert open_encoder(f"dir:{folder}").info


def test_an_absent_shard_is_refused_by_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="model-00002-of-00002"):
        assert open_encoder(f"dir:{folder}").info


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]"])
def test_damaged_safetensors_are_refused(content: bytes, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        assert open_encoder(f"dir:{folder}").info


@settings(deadline=None, max_examples=40)
@given(content=st.binary(max_size=200))
def test_no_header_breaks_the_reader(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(content)
    try:
        shapes = folders.tensor_shapes([path])
    except ModelError:
        return
    assert all(isinstance(size, int) for shape in shapes.values() for size in shape)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "[1]", "{", "\xff"])
def test_damaged_settings_are_refused_by_name(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises(ModelError, match=name):
        open_encoder(f"dir:{folder}")


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"config\.json"):
        open_encoder(f"dir:{tmp_path}")


class Evil:
    """A pickle that would leave a trace if it ran."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def test_pickled_weights_run_no_code(folder: Path) -> None:
    trace = folder / "ran"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Evil(trace)}))
    with pytest.raises(ModelError):
        open_encoder(f"dir:{folder}").module()
    with pytest.raises(ModelError):
        folders.read_tensors([folder / "pytorch_model.bin"], ["x"])
    assert not trace.exists()


def test_pickled_weights_give_the_same_vectors(folder: Path, bert_folder: Path) -> None:
    import torch

    state = {name: torch.from_numpy(tensor) for name, tensor in weights(folder).items()}
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    pickled, safe = open_encoder(f"dir:{folder}"), open_encoder(f"dir:{bert_folder}")
    batch = {name: torch.from_numpy(array) for name, array in safe.collate(safe.prepare(["the cat"])).items()}
    with torch.inference_mode():
        assert torch.equal(pickled.module()(**batch), safe.module()(**batch))
    assert pickled.info.parameters is None
    assert safe.info.parameters == sum(tensor.size for tensor in weights(bert_folder).values())


def test_bfloat16_weights_are_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16), "b": torch.ones(2)}, tmp_path / "x.safetensors")
    tensors = folders.read_tensors([tmp_path / "x.safetensors"], ["a", "b", "c"])
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"a": [1.5, -2.0], "b": [1.0, 1.0]}
    assert tensors["a"].dtype == np.float32
