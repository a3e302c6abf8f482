"""Named sets: found, made or fetched with a checksum; codes, parts and order such that shots are drawn as published."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from graft import settings
from graft.data import named
from graft.data.dataset import Dataset, ImageSource
from graft.data.images import decode
from graft.data.named import SETS
from graft.data.read import check_trainable, read
from graft.errors import DataError, MissingError, StorageError, UsageError


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write(folder: Path, **files: str) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("data_folder")
def test_a_set_that_is_nowhere_says_where_it_was_looked_for() -> None:
    with pytest.raises(
        MissingError, match=r"cifar10\.zip in .*data.cifar10 and in .*cache.data.cifar10.*cs\.toronto\.edu"
    ):
        read("data:cifar10")
    with pytest.raises(MissingError, match="network is off"):
        read("data:banking77")


def test_names_that_are_no_sets() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'cifar10'\?.*Allowed: ag_news"):
        read("data:cifar")
    for name, verb in (("scifact", "graft search"), ("ml-latest-small", "graft recommend"), ("stsb", "studies")):
        with pytest.raises(UsageError, match=verb):
            read(f"data:{name}")
    with pytest.raises(UsageError, match="--label"):
        read("data:digits", label="x")


def test_sst2(data_folder: Path) -> None:
    write(data_folder / "sst2", train__tsv='"a stirring film\t1\na mess\t0\n', test__tsv="dull\t0\n")
    dataset = read("data:sst2")
    assert dataset.classes == ("negative", "positive") and dataset.labels.tolist() == [1, 0, 0]
    assert dataset.ids == ("0", "1", "test:0") and dataset.contents[0] == '"a stirring film'
    assert (dataset.name, dataset.kind, dataset.source) == ("sst2", "named", "data:sst2") and dataset.sha256
    (data_folder / "sst2" / "train.tsv").write_text("fine\t1\nodd\t7\n")
    with pytest.raises(DataError, match="not as published"):
        read("data:sst2")


def test_ag_news_leaves_out_rows_that_open_like_a_test_row(data_folder: Path) -> None:
    story = "The committee met on Monday to discuss the new rules for shipping in the northern straits and the ports of the south"
    write(
        data_folder / "ag_news",
        subset_train__csv=f'"A match was played.",1\n"{story} -- 2004, more",2\n"Stocks fell",2\n',
        test__csv=f'"3","The committee met","{story[18:]}, and so on"\n"4","Title","words"\n',
    )
    dataset = read("data:ag_news")
    assert dataset.ids == ("0", "2", "test:0", "test:1") and dataset.classes == (
        "world",
        "sports",
        "business",
        "sci/tech",
    )
    assert dataset.labels.tolist() == [1, 2, 2, -1] and dataset.contents[-1] == "Title words"
    assert dataset.columns["left out"].startswith("1 ")


def test_banking77_keeps_the_published_order(data_folder: Path) -> None:
    write(
        data_folder / "banking77",
        categories__json='["z_one", "a_two"]',
        train__csv='text,category\n"Where, please?",z_one\nWhy?,a_two\n',
        test__csv="text,category\nHow?,a_two\n",
    )
    dataset = read("data:banking77")
    assert (
        dataset.classes == ("z_one", "a_two")
        and dataset.labels.tolist() == [0, 1, 1]
        and dataset.class_descriptions() == ("z one", "a two")
    )


def idx(path: Path, values: NDArray[np.uint8]) -> None:
    path.write_bytes(
        gzip.compress(
            bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", n) for n in values.shape) + values.tobytes()
        )
    )


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sets(data_folder: Path, name: str) -> None:
    folder = data_folder / name
    folder.mkdir()
    pictures = np.arange(12 * 6, dtype=np.uint8).reshape(12, 2, 3)
    for part, rows in (("train", slice(0, 10)), ("t10k", slice(10, 12))):
        idx(folder / f"{part}-images-idx3-ubyte.gz", pictures[rows])
        idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(12, dtype=np.uint8)[rows] % 10)
    dataset = read(f"data:{name}")
    assert dataset.labels.tolist() == [*range(10), 0, 1] and dataset.ids[-1] == "test:1"
    assert dataset.test_mask is not None and dataset.test_mask.sum() == 2
    last = dataset.contents[-1]
    assert isinstance(last, ImageSource) and np.array_equal(
        np.asarray(decode(last.read_bytes()))[:, :, 0], pictures[11]
    )
    assert dataset.class_descriptions()[0] == {"mnist": "zero", "fashion_mnist": "T-shirt or top"}[name]
    idx(folder / "train-labels-idx1-ubyte.gz", np.zeros(9, np.uint8))
    with pytest.raises(DataError, match="count"):
        read(f"data:{name}")


def test_usps(data_folder: Path) -> None:
    from scipy.io import savemat

    (data_folder / "usps").mkdir()
    pictures = np.arange(2 * 256, dtype=np.int64).reshape(2, 256).astype(np.uint8)
    savemat(data_folder / "usps" / "USPS.mat", {"fea": pictures, "gnd": np.array([[10], [1]], np.uint8)})
    dataset = read("data:usps")
    assert [dataset.classes[code] for code in dataset.labels] == ["9", "0"]
    first = dataset.contents[1]
    assert isinstance(first, ImageSource) and decode(first.read_bytes()).size == (16, 16)
    savemat(data_folder / "usps" / "USPS.mat", {"other": pictures})
    with pytest.raises(DataError, match="fea and gnd"):
        read("data:usps")


def test_tiny_imagenet(data_folder: Path) -> None:
    (data_folder / "tiny_imagenet").mkdir()
    with zipfile.ZipFile(data_folder / "tiny_imagenet" / "tiny_imagenet.zip", "w") as archive:
        for name, text in {
            "wnids.txt": "n2\nn1\n", "words.txt": "n1\tgoldfish, Carassius auratus\nn2\tboat\nn3\tother\n",
            "train/n1/n1_boxes.txt": "x", "train/n1/images/n1_0.JPEG": "x", "train/n2/images/n2_0.JPEG": "x",
            "val/val_annotations.txt": "val_0.JPEG\tn2\t0\t0\t9\t9\n", "val/images/val_0.JPEG": "x",
        }.items():  # fmt: skip
            archive.writestr(f"tiny_imagenet/{name}", text)
    dataset = read("data:tiny_imagenet")
    assert (
        dataset.classes == ("n1", "n2")
        and dataset.class_descriptions() == ("goldfish", "boat")
        and dataset.labels.tolist() == [0, 1, 1]
    )
    assert dataset.test_mask is not None and dataset.test_mask.tolist() == [False, False, True]


def test_zipped_sets_may_lie_unpacked(data_folder: Path) -> None:
    for part in ("train", "test"):
        for label in ("crazing", "rolled-in_scale"):
            (data_folder / "neu_surface_defect" / part / label).mkdir(parents=True)
            (data_folder / "neu_surface_defect" / part / label / "1.jpg").write_bytes(b"x")
    dataset = read("data:neu_surface_defect")
    assert (
        len(dataset) == 4 and dataset.sha256 is None and dataset.class_descriptions() == ("crazing", "rolled-in scale")
    )


def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, checksum: str | None = None) -> None:
    origin = tmp_path / "publisher.tsv"
    origin.write_bytes(content)
    checksum = checksum or hashlib.sha256(content).hexdigest()
    published = {file: (origin.as_uri(), checksum) for file in ("train.tsv", "test.tsv")}
    monkeypatch.setitem(named.SETS, "sst2", replace(SETS["sst2"], published=published))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("GRAFT_OFFLINE", raising=False)


@pytest.mark.usefixtures("data_folder")
def test_fetching_checks_the_sum_and_keeps_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, tmp_path, b"good\t1\nbad\t0\n")
    seen: list[tuple[str, int, int]] = []
    with settings.listening(lambda *progress: seen.append(progress)):
        assert len(read("data:sst2")) == 4
    assert seen[-1] == ("fetch sst2/test.tsv", 13, 13)
    (tmp_path / "publisher.tsv").unlink()
    assert len(read("data:sst2")) == 4
    assert sorted(p.name for p in (settings.cache_dir() / "data").iterdir()) == ["sst2"]


@pytest.mark.usefixtures("data_folder")
def test_a_changed_or_missing_original_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, tmp_path, b"good\t1\n", checksum="0" * 32)
    with pytest.raises(DataError, match="has changed"):
        read("data:sst2")
    (tmp_path / "publisher.tsv").unlink()
    with pytest.raises(MissingError, match="could not be fetched"):
        read("data:sst2")
    assert not list((settings.cache_dir() / "data").iterdir())


@pytest.mark.usefixtures("data_folder")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="GRAFT_CACHE"):
        read("data:streamcatalogue")


@pytest.mark.usefixtures("data_folder")
def test_half_a_copy_in_the_cache_is_replaced() -> None:
    (settings.cache_dir() / "data" / "streamcatalogue").mkdir(parents=True)
    (settings.cache_dir() / "data" / "streamcatalogue" / "other.csv").write_text("x")
    assert len(read("data:streamcatalogue")) == 600
    assert len(read("data:streamcatalogue")) == 600


def test_digits_are_pictures_in_folders() -> None:
    dataset = read("data:digits")
    assert len(dataset) == 1797 and dataset.classes == tuple("0123456789") and dataset.test_mask is None
    assert np.bincount(dataset.labels).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]  # as scikit-learn documents
    first = dataset.contents[0]
    assert isinstance(first, ImageSource) and dataset.ids[0] == "0/digit_0000.png"
    picture = np.asarray(decode(first.read_bytes()))
    assert picture.shape == (64, 64, 3) and picture.max() > 230 and picture[:, :4].max() < 20
    assert dataset.class_descriptions()[9] == "nine" and not dataset.faults
    check_trainable(dataset)


# The published splits


def shots(dataset: Dataset, k: int, seed: int) -> list[str]:
    """The rule of the published splits: K items of each class, in the order of the codes."""
    random = np.random.RandomState(1000 * seed + k)
    training = np.flatnonzero(~dataset.test_mask) if dataset.test_mask is not None else np.arange(len(dataset))
    labels = dataset.labels[training]
    chosen = [random.permutation(training[labels == code])[:k] for code in range(len(dataset.classes))]
    return [dataset.ids[i] for i in np.concatenate(chosen)]


def published(shared_data: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted((shared_data.parent / "splits").glob(pattern))
    if not files:
        pytest.skip("no splits beside GRAFT_DATA")
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.parametrize(
    ("name", "counts"), [("sst2", (6920, 1821)), ("ag_news", (4990, 7600)), ("banking77", (10003, 3080))]
)
def test_shots_of_texts_are_the_published_ones(shared_data: Path, name: str, counts: tuple[int, int]) -> None:
    dataset = read(f"data:{name}")
    assert dataset.test_mask is not None and not dataset.faults
    assert ((~dataset.test_mask).sum(), dataset.test_mask.sum()) == counts
    splits = published(shared_data, f"text_{name}_K*_seed*.json")
    assert len(splits) == 10
    for split in splits:
        ids = shots(dataset, split["K"], split["seed"])
        assert ids == [str(row) for row in split["train"]]
        position = dataset.ids.index(ids[0])
        assert str(dataset.contents[position]).startswith(split["first_text"])
        labels = {item: int(code) for item, code in zip(dataset.ids, dataset.labels, strict=True)}
        assert [labels[item] for item in ids] == split["labels"]


@pytest.mark.parametrize(
    ("name", "short", "counts"), [("neu_surface_defect", "neu", (1620, 180)), ("cifar10", "cifar10", (10_000, 10_000))]
)
def test_shots_of_pictures_are_the_published_ones(
    shared_data: Path, name: str, short: str, counts: tuple[int, int]
) -> None:
    dataset = read(f"data:{name}")
    assert dataset.test_mask is not None and not dataset.faults
    assert ((~dataset.test_mask).sum(), dataset.test_mask.sum()) == counts
    everything = set(dataset.ids)
    for split in published(shared_data, f"img_{short}_K*_seed*.json"):
        assert tuple(split["classes"]) == dataset.classes and set(split["test"]) <= everything
        if split["K"] == "all":
            assert sorted(split["train"]) == sorted(np.array(dataset.ids)[~dataset.test_mask])
        else:
            assert shots(dataset, split["K"], split["seed"]) == split["train"]


def test_dropped_rows_and_class_texts_are_the_published_ones(shared_data: Path) -> None:
    (dropped,) = published(shared_data, "text_ag_news_dropped_rows.json")
    kept = {item for item in read("data:ag_news").ids if not item.startswith("test:")}
    assert sorted({str(row) for row in range(5000)} - kept, key=int) == [str(row) for row in dropped]
    (texts,) = published(shared_data, "text_zero_shot_label_texts.json")
    for name in ("sst2", "ag_news", "banking77"):
        assert list(read(f"data:{name}").class_descriptions()) == texts[name]["bare"]


@pytest.mark.usefixtures("shared_data")
@pytest.mark.parametrize(
    ("name", "classes", "counts"),
    [
        ("mnist", 10, (60_000, 10_000)),
        ("fashion_mnist", 10, (60_000, 10_000)),
        ("tiny_imagenet", 200, (10_000, 10_000)),
        ("usps", 10, (11_000, 0)),
    ],
)
def test_the_other_shared_sets(name: str, classes: int, counts: tuple[int, int]) -> None:
    dataset = read(f"data:{name}")
    tests = 0 if dataset.test_mask is None else int(dataset.test_mask.sum())
    assert (len(dataset) - tests, tests) == counts and len(dataset.classes) == classes and not dataset.faults
    assert (dataset.labels >= 0).all()
    source = dataset.contents[-1]
    assert isinstance(source, ImageSource) and decode(source.read_bytes()).mode == "RGB"
