"""Running encoders: formats, devices, the kept graph, and requests that overlap."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.encoders import conversion, runtime
from graft.encoders.base import Batch, Encoder
from graft.encoders.fingerprint import digest
from graft.encoders.open import open_encoder
from graft.encoders.runtime import OpenVinoRunner, TorchRunner, find_device, formats, open_runner
from graft.errors import MissingError, UsageError


@pytest.fixture
def encoder() -> Encoder:
    """The smallest encoder there is."""
    return open_encoder("pixels:4")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def batches(count: int) -> list[Batch]:
    """Batches of different sizes, all of their number's value."""
    return [{"pixels": np.full((1 + k % 3, 3, 4, 4), k, np.uint8)} for k in range(count)]


def check(outputs: list[Any], count: int) -> None:
    """Every output is its batch's."""
    assert [len(output) for output in outputs] == [1 + k % 3 for k in range(count)]
    for k, output in enumerate(outputs):
        assert np.allclose(output, k / 255)
        assert output.dtype == np.float32


class FakeCore:
    """A processor of other abilities."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = capabilities

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return list(self.capabilities)


@pytest.mark.parametrize(
    ("capabilities", "flags", "expected"),
    [
        (["FP32", "INT8"], {"avx512f"}, ("f32",)),
        (["FP32", "BF16", "FP16"], {"avx512_fp16", "amx_bf16"}, ("f16", "bf16", "f32")),
        (["FP32", "BF16"], {"avx512_bf16"}, ("bf16", "f32")),
        (["FP32", "FP16", "BF16"], {"avx_vnni", "avx_ne_convert"}, ("f32",)),
        (["FP32", "FP16"], {"asimd", "asimdhp"}, ("f16", "f32")),
        (["FP32", "FP16"], None, ("f16", "f32")),
    ],
)
def test_half_precision_only_where_the_processor_computes_in_it(
    capabilities: list[str], flags: set[str] | None, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_core", lambda: FakeCore(*capabilities))
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: flags)
    runtime._cpu_formats.cache_clear()
    try:
        assert formats("cpu") == expected
    finally:
        runtime._cpu_formats.cache_clear()


def test_formats_of_gpus() -> None:
    assert formats("cuda:1") == ("f16", "bf16", "f32")
    assert formats("mps") == ("f16", "f32")
    assert formats("cpu")[-1] == "f32"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert find_device("cpu") == "cpu"
    monkeypatch.setattr(runtime, "_driver", lambda: False)
    assert find_device("auto") == "cpu"
    with pytest.raises(UsageError, match="'gpu'"):
        find_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(runtime, "_driver", lambda: True)
    assert find_device("auto") == "cuda"
    assert find_device("cuda:0") == "cuda:0"
    with pytest.raises(MissingError, match="cuda:3"):
        find_device("cuda:3")


def test_an_unknown_format_is_refused(encoder: Encoder) -> None:
    with pytest.raises(UsageError, match="'int3'"):
        open_runner(encoder, format="int3", device="cpu")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_many_batches_keep_their_order(threads: str, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_THREADS", threads)
    runner = open_runner(encoder, format="f32", device="cpu")
    assert (runner.format, runner.device, type(runner)) == ("f32", "cpu", OpenVinoRunner)
    for count in (0, 1, 2, 3, 20):
        check(list(runner.run(batches(count))), count)
        check(list(TorchRunner(encoder, "f32", "cpu").run(batches(count))), count)


def test_batches_are_drawn_only_a_few_ahead(encoder: Encoder) -> None:
    drawn = 0

    def counted() -> Iterator[Batch]:
        nonlocal drawn
        for batch in batches(50):
            drawn += 1
            yield batch

    for runner in (OpenVinoRunner(encoder, "f32"), TorchRunner(encoder, "f32", "cpu")):
        drawn = 0
        outputs = iter(runner.run(counted()))
        for taken in range(1, 11):
            next(outputs)
            assert drawn <= taken + 4
        outputs.close()  # type: ignore[attr-defined]
        check(list(runner.run(batches(5))), 5)


def test_a_fault_among_the_batches_comes_through(encoder: Encoder) -> None:
    def faulty() -> Iterator[Batch]:
        yield from batches(2)
        raise OSError("disk")

    runner = OpenVinoRunner(encoder, "f32")
    with pytest.raises(OSError, match="disk"):
        list(runner.run(faulty()))
    check(list(runner.run(batches(4))), 4)


def test_several_threads_share_a_runner(encoder: Encoder) -> None:
    runner = OpenVinoRunner(encoder, "f32")
    found: dict[int, list[Any]] = {}

    def work(number: int) -> None:
        found[number] = list(runner.run(batches(20 + number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        check(found[number], 20 + number)


def count_conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by one with every conversion."""
    made: list[str] = []
    convert = conversion.convert

    def counted(encoder: Encoder) -> Any:
        made.append(encoder.info.reference)
        return convert(encoder)

    monkeypatch.setattr(conversion, "convert", counted)
    return made


def test_an_encoder_is_converted_once(encoder: Encoder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count_conversions(monkeypatch)
    for _ in range(3):
        check(list(OpenVinoRunner(encoder, "f32").run(batches(3))), 3)
    assert made == ["pixels:4"]
    folder = cache / "openvino" / encoder.info.fingerprint
    assert sorted(path.name for path in folder.iterdir()) == ["graph.bin", "graph.json", "graph.xml"]
    assert [path.name for path in folder.parent.iterdir()] == [encoder.info.fingerprint]


@pytest.mark.parametrize("name", ["graph.bin", "graph.json", "graph.xml"])
@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_damaged_graph_is_made_again(
    name: str, damage: str, encoder: Encoder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OpenVinoRunner(encoder, "f32")
    path = cache / "openvino" / encoder.info.fingerprint / name
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else bytes(255 - b for b in content))
    made = count_conversions(monkeypatch)
    check(list(OpenVinoRunner(encoder, "f32").run(batches(3))), 3)
    assert made == ["pixels:4"]
    check(list(OpenVinoRunner(encoder, "f32").run(batches(3))), 3)
    assert made == ["pixels:4"]


def test_a_graph_of_another_version_is_made_again(encoder: Encoder, cache: Path) -> None:
    """Whole by its digests, yet not to be read."""
    OpenVinoRunner(encoder, "f32")
    folder = cache / "openvino" / encoder.info.fingerprint
    (folder / "graph.xml").write_text("<net version='99'/>")
    digests = json.loads((folder / "graph.json").read_text())
    digests["graph.xml"] = digest(folder / "graph.xml")
    (folder / "graph.json").write_text(json.dumps(digests))
    check(list(OpenVinoRunner(encoder, "f32").run(batches(3))), 3)


def test_a_cache_that_cannot_be_written_is_no_error(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file/cache"))
    check(list(OpenVinoRunner(encoder, "f32").run(batches(3))), 3)


def test_torch_steps_in_where_openvino_is_missing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError("no openvino")

    monkeypatch.setattr(runtime, "openvino", missing)
    runner = open_runner(encoder, format="f32", device="cpu")
    assert isinstance(runner, TorchRunner)
    check(list(runner.run(batches(4))), 4)


def test_autocast_gives_float32_outputs(encoder: Encoder) -> None:
    """Half precision on a GPU's path, by torch's bfloat16 on this processor."""
    runner = TorchRunner(encoder, "bf16", "cpu")
    check(list(runner.run(batches(4))), 4)
