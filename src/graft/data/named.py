"""`data:NAME`: public sets whose columns, codes and official parts are known, and two that Graft makes itself.

A set is looked for in `$GRAFT_DATA/NAME`, then in the cache, then made or fetched from its publisher where that can be done with
a checksum. A local copy is used as found: its items are counted and its files hashed into the result.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graft import settings
from graft.data.archives import array_rows, list_zip, read_member, usps_digits
from graft.data.catalogue import write_catalogue
from graft.data.dataset import Dataset, ImageSource, Items, assemble, files_sha256
from graft.data.digits import write_digits
from graft.data.folders import read_folder, read_zip
from graft.data.tables import open_table
from graft.errors import DataError, MissingError, StorageError, UsageError, unknown

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_FASHION = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_AG_NEWS = ("world", "sports", "business", "sci/tech")
_BANKING_AT = "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data/"
_FASHION_AT = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/"
_OTHER_TASKS = {
    "flickr8k_1000": "photos with captions, for `graft index` and `graft search`",
    "scifact": "questions and abstracts with judgements, for `graft index` and `graft search`",
    "stsb": "pairs of sentences with a similarity, for judging encoders in the studies",
    "ml-latest-small": "ratings of films, for `graft recommend`",
    "movietweetings-100k": "ratings of films, for `graft recommend`",
}


@dataclass(frozen=True)
class NamedSet:
    """How a set is found and read: the files it needs, its publisher's page, what reads them.

    `published` gives file -> (address, checksum: MD5 or SHA-256 as published) where it can be fetched; `make` writes a set that
    needs no network into an empty folder.
    """

    files: tuple[str, ...]
    page: str
    load: Callable[[Path], Dataset]
    published: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    make: Callable[[Path], None] | None = None


def read_named(name: str) -> Dataset:
    """The set called NAME, kind "named". Raises UsageError for a name that is not known or not a set for classifying,
    MissingError when it is nowhere and cannot be fetched, DataError when its files are not as published."""
    if name in _OTHER_TASKS:
        raise UsageError(f"data:{name} has no classes: it holds {_OTHER_TASKS[name]}.")
    if name not in SETS:
        raise UsageError(unknown("The set", name, SETS) + " A folder, zip or table of your own is given by its path.")
    known = SETS[name]
    folder = _find(name, known)
    try:
        dataset = known.load(folder)
        files = [folder / file for file in known.files if (folder / file).is_file()]
        sha256 = files_sha256(files) if files else None
    except OSError as problem:
        raise DataError(f"data:{name} in {folder} cannot be read: {problem}.") from problem
    except (IndexError, KeyError, ValueError) as problem:
        raise DataError(f"data:{name} in {folder} is not as published: {problem}.") from problem
    return replace(dataset, name=name, kind="named", source=f"data:{name}", sha256=sha256)


def _find(name: str, known: NamedSet) -> Path:
    cached = settings.cache_dir() / "data" / name
    places = [cached] if settings.data_dir() is None else [Path(str(settings.data_dir())) / name, cached]
    for folder in places:
        if _holds(folder, known.files):
            return folder
    if known.make is not None:
        _fill(cached, known.files, known.make)
        return cached
    looked = " and in ".join(str(folder) for folder in places)
    files = ", ".join(known.files)
    if known.published and not settings.offline():
        _fill(cached, known.files, lambda folder: _fetch(name, known, folder))
        return cached
    way = (
        "it can be fetched, but the network is off (GRAFT_OFFLINE or HF_HUB_OFFLINE is set)"
        if known.published
        else "it is not fetched for you"
    )
    raise MissingError(
        f"data:{name} is not here: looked for {files} in {looked}; {way}. "
        f"Get it from {known.page} and put it into a folder {name}, with GRAFT_DATA naming the folder above."
    )


def _holds(folder: Path, files: Sequence[str]) -> bool:
    """All files are there; a set that comes as a zip may also lie unpacked, as train/ and test/."""
    if all((folder / file).exists() for file in files):
        return True
    return files == (f"{folder.name}.zip",) and (folder / "train").is_dir() and folder.name != "tiny_imagenet"


def _fill(folder: Path, files: Sequence[str], fill: Callable[[Path], None]) -> None:
    """Fill a new folder beside its final name and rename it, so that a stopped process leaves nothing half done."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            fresh = Path(temporary) / "fresh"
            fresh.mkdir()
            fill(fresh)
            if folder.exists() and not _holds(folder, files):
                shutil.rmtree(folder)
            try:
                fresh.rename(folder)
            except OSError:
                if not _holds(folder, files):  # else another process was faster, and its copy is as good
                    raise
    except OSError as problem:
        raise StorageError(
            f"{folder} cannot be written: {problem.strerror or problem}. GRAFT_CACHE names another folder."
        ) from problem


def _fetch(name: str, known: NamedSet, folder: Path) -> None:
    for file, (address, checksum) in known.published.items():
        digest = hashlib.md5(usedforsecurity=False) if len(checksum) == 32 else hashlib.sha256()
        try:
            with urllib.request.urlopen(address, timeout=20) as answer, (folder / file).open("wb") as out:
                total, done = int(answer.headers.get("Content-Length") or 0), 0
                while chunk := answer.read(2**18):
                    out.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    settings.progress(f"fetch {name}/{file}", done, total)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as problem:
            raise MissingError(
                f"data:{name} could not be fetched from {address}: {problem}. See {known.page}."
            ) from problem
        if digest.hexdigest() != checksum:
            raise DataError(
                f"{address} has changed: its checksum is {digest.hexdigest()}, not {checksum} as published. It is not used."
            )


# How each set is read


def _cells(path: Path, columns: Sequence[int], *, header: bool) -> Iterator[tuple[int, list[str]]]:
    for row in open_table(path, lambda _first, _others: header).rows(columns):
        if row.cells is None:
            raise ValueError(f"{path.name}, {row.where}: {row.problem}")
        yield row.number, [str(cell) for cell in row.cells]


def _row_id(number: int, test: bool) -> str:
    return f"test:{number}" if test else str(number)


def _sst2(folder: Path) -> Dataset:
    classes = ("negative", "positive")
    items = Items("text", columns={"content": "0", "label": "1", "header": "none"})
    for file, test in (("train.tsv", False), ("test.tsv", True)):
        for number, (text, code) in _cells(folder / file, (0, 1), header=False):
            items.add(_row_id(number, test), text, classes[int(code)], test=test)
    return assemble(items, name="", kind="", source="", classes=classes)


def _opening(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())[:80]


def _ag_news(folder: Path) -> Dataset:
    """Training rows whose first 80 letters are those of a test row are the same story and are left out."""
    test_rows = [
        (f"{title} {description}", code)
        for _, (code, title, description) in _cells(folder / "test.csv", (0, 1, 2), header=False)
    ]
    openings = {_opening(text) for text, _ in test_rows}
    items = Items("text", columns={"content": "text", "label": "label", "test": "title + description"})
    dropped = 0
    for number, (text, code) in _cells(folder / "subset_train.csv", (0, 1), header=False):
        if _opening(text) in openings:
            dropped += 1
        else:
            items.add(_row_id(number, False), text, _AG_NEWS[int(code)])
    items.columns["left out"] = f"{dropped} training rows that open like a test row"
    for number, (text, code) in enumerate(test_rows):
        items.add(_row_id(number, True), text, _AG_NEWS[int(code) - 1], test=True)
    return assemble(items, name="", kind="", source="", classes=_AG_NEWS)


def _banking77(folder: Path) -> Dataset:
    classes = tuple(json.loads((folder / "categories.json").read_text(encoding="utf-8")))
    items = Items("text", columns={"content": "text", "label": "category"})
    for file, test in (("train.csv", False), ("test.csv", True)):
        for number, (text, label) in _cells(folder / file, (0, 1), header=True):
            items.add(_row_id(number, test), text, label, test=test)
    return assemble(items, name="", kind="", source="", classes=classes)


def _idx(classes: Sequence[str], texts: Sequence[str]) -> Callable[[Path], Dataset]:
    def load(folder: Path) -> Dataset:
        items = Items("image")
        for images, labels, test in ((_IDX[0], _IDX[1], False), (_IDX[2], _IDX[3], True)):
            codes = array_rows(folder / labels)
            if codes.shape != array_rows(folder / images).shape[:1]:
                raise ValueError(f"{labels} and {images} do not count the same items")
            for number, code in enumerate(codes):
                items.add(_row_id(number, test), ImageSource(folder / images, str(number)), classes[code], test=test)
        dataset = assemble(items, name="", kind="", source="", classes=classes)
        return replace(dataset, class_texts=dict(zip(classes, texts, strict=True)))

    return load


def _usps(folder: Path) -> Dataset:
    path = folder / "USPS.mat"
    items = Items("image")
    for number, digit in enumerate(usps_digits(path)):
        items.add(str(number), ImageSource(path, str(number)), str(digit))
    return replace(assemble(items, name="", kind="", source=""), class_texts=_digit_texts())


def _tiny_imagenet(folder: Path) -> Dataset:
    """Class folders in train/; the official test part is val/, whose labels are in val_annotations.txt. Classes are WordNet ids."""
    path = folder / "tiny_imagenet.zip"
    entries, _ = list_zip(path)
    annotations, words = (
        read_member(path, f"tiny_imagenet/{file}").decode("utf-8").splitlines()
        for file in ("val/val_annotations.txt", "words.txt")
    )
    labels = {file: wnid for file, wnid, *_box in (line.split("\t") for line in annotations)}
    items = Items("image")
    for entry in entries:
        if entry.path.endswith(".JPEG"):
            _, part, *inner = entry.path.split("/")
            label = inner[0] if part == "train" else labels[inner[-1]]
            items.add(entry.path, ImageSource(path, entry.member), label, test=part != "train")
    dataset = assemble(items, name="", kind="", source="")
    names = {wnid: synonyms.split(",")[0] for wnid, synonyms in (line.split("\t") for line in words)}
    return replace(dataset, class_texts={wnid: names[wnid] for wnid in dataset.classes})


def _zipped(name: str, texts: Mapping[str, str] | None = None) -> Callable[[Path], Dataset]:
    def load(folder: Path) -> Dataset:
        packed = folder / f"{name}.zip"
        items = read_zip(packed) if packed.exists() else read_folder(folder)
        return replace(assemble(items, name="", kind="", source=""), class_texts=texts)

    return load


def _digits(folder: Path) -> Dataset:
    return replace(assemble(read_folder(folder), name="", kind="", source=""), class_texts=_digit_texts())


def _digit_texts() -> dict[str, str]:
    return {str(digit): word for digit, word in enumerate(_DIGITS)}


def _streamcatalogue(folder: Path) -> Dataset:
    items = Items("text", columns={"content": "description", "label": "category"})
    payload: dict[str, list[str | int]] = {"title": [], "year": [], "minutes": []}
    for number, (title, text, label, year, minutes) in _cells(folder / "streamcatalogue.csv", range(1, 6), header=True):
        items.add(str(number), text, label)
        for name, value in (("title", title), ("year", int(year)), ("minutes", int(minutes))):
            payload[name].append(value)
    return replace(assemble(items, name="", kind="", source=""), payload=payload)


def _at(base: str, checksums: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {file: (base + file, checksum) for file, checksum in checksums.items()}


_NEU_TEXTS = {
    label: label.replace("_", " ")
    for label in ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")
}

SETS: dict[str, NamedSet] = {
    "ag_news": NamedSet(
        ("subset_train.csv", "test.csv"),
        "https://github.com/mhjabreel/CharCnn_Keras (test.csv) and https://github.com/lst11111/bert-text-classification (subset_train.csv)",
        _ag_news,
    ),
    "banking77": NamedSet(
        ("categories.json", "test.csv", "train.csv"),
        "https://github.com/PolyAI-LDN/task-specific-datasets",
        _banking77,
        _at(
            _BANKING_AT,
            {
                "categories.json": "53261da888122daf2d120d925458631d9619e15d82e56052e7a42e535ce32b63",
                "test.csv": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
                "train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
            },
        ),
    ),
    "cifar10": NamedSet(
        ("cifar10.zip",),
        "https://www.cs.toronto.edu/~kriz/cifar.html (as cifar10/{train,test}/CLASS/*.png)",
        _zipped("cifar10"),
    ),
    "digits": NamedSet(tuple("0123456789"), "https://archive.ics.uci.edu/dataset/80", _digits, make=write_digits),
    "fashion_mnist": NamedSet(
        _IDX,
        "https://github.com/zalandoresearch/fashion-mnist",
        _idx(_FASHION, [label.replace("/", " or ") for label in _FASHION]),
        _at(
            _FASHION_AT,
            {
                _IDX[0]: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                _IDX[1]: "25c81989df183df01b3e8a0aad5dffbe",
                _IDX[2]: "bef4ecab320f06d8554ea6380940ec79",
                _IDX[3]: "bb300cfdad3c16e7a12a480ee83cd310",
            },
        ),
    ),
    "mnist": NamedSet(_IDX, "http://yann.lecun.com/exdb/mnist", _idx([str(digit) for digit in range(10)], _DIGITS)),
    "neu_surface_defect": NamedSet(
        ("neu_surface_defect.zip",),
        "http://faculty.neu.edu.cn/songkechen/zh_CN/zdylm/263270/list (as {train,test}/CLASS/*.jpg)",
        _zipped("neu_surface_defect", _NEU_TEXTS),
    ),
    "sst2": NamedSet(
        ("test.tsv", "train.tsv"),
        "https://github.com/clairett/pytorch-sentiment-classification",
        _sst2,
    ),
    "streamcatalogue": NamedSet(
        ("streamcatalogue.csv",),
        "Graft makes it",
        _streamcatalogue,
        make=lambda folder: write_catalogue(folder / "streamcatalogue.csv"),
    ),
    "tiny_imagenet": NamedSet(
        ("tiny_imagenet.zip",), "http://cs231n.stanford.edu/tiny-imagenet-200.zip", _tiny_imagenet
    ),
    "usps": NamedSet(("USPS.mat",), "https://cs.nyu.edu/~roweis/data.html", _usps),
}
