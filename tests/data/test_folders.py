"""Class folders, parts, wrapping folders and loose files; a zip reads exactly like its folder; links and pipes are not followed."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from graft.data.dataset import Dataset, ImageSource
from graft.data.folders import arrange
from graft.data.read import check_trainable, read
from graft.errors import DataError, MissingError, UsageError


def picture(colour: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (4, 4), colour).save(stream, format="PNG")
    return stream.getvalue()


def tree(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def zipped(path: Path, files: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def words(dataset: Dataset) -> list[str | None]:
    return [dataset.classes[code] if code >= 0 else None for code in dataset.labels]


@pytest.mark.parametrize(
    ("paths", "labels", "tests"),
    [
        (["a/1", "b/2"], ["a", "b"], [0, 0]),
        (["top/a/1", "top/b/2"], ["a", "b"], [0, 0]),
        (["x/y/a/1", "x/y/b/deep/er/2"], ["a", "b"], [0, 0]),
        (["train/a/1", "test/a/2"], ["a", "a"], [0, 1]),
        (["top/Train/a/1", "top/VALID/a/2"], ["a", "a"], [0, 1]),
        (["train/a/1", "val/a/2", "test/a/3"], ["a", "a", "a"], [0, 0, 1]),
        (["train/a/1", "test/2"], ["a", None], [0, 1]),
        (["bus/1", "train/2", "test/3"], ["bus", "train", "test"], [0, 0, 0]),
        (["bus/1", "train/2"], ["bus", "train"], [0, 0]),
        (["only/1", "only/2"], ["only", "only"], [0, 0]),
        (["1", "2"], [None, None], [0, 0]),
        (["a/1", "2"], ["a", None], [0, 0]),
    ],
)
def test_layouts(paths: list[str], labels: list[str | None], tests: list[int]) -> None:
    layout = arrange(paths)
    assert [place.label for place in layout.places] == labels
    assert [place.test for place in layout.places] == [bool(t) for t in tests]
    assert not any(place.outside for place in layout.places)


def test_files_beside_the_parts_are_outside() -> None:
    layout = arrange(["train/a/1", "test/a/2", "extra/3", "4"])
    assert [place.outside for place in layout.places] == [False, False, True, True]
    assert layout.parts == "train: train; test: test"


def test_a_zip_named_like_its_only_folder_is_loose_files() -> None:
    assert [p.label for p in arrange(["photos/1", "photos/2"], "photos").places] == [None, None]


def test_a_folder_and_its_zip_read_alike(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{c}/{i}.png": picture(i) for c in ("dog", "cat") for i in range(3)}
    files |= {"README.md": "about", "cat/.hidden.png": picture(), "__MACOSX/cat/1.png": b"junk"}
    folder = read(tree(tmp_path / "pets", files))
    packed = read(zipped(tmp_path / "pets.zip", files))
    assert folder.ids == ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png")
    assert folder.classes == ("cat", "dog") and folder.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (folder.name, folder.kind, folder.modality, folder.sha256) == ("pets", "folder", "image", None)
    assert (packed.name, packed.kind, packed.modality) == ("pets", "zip", "image") and packed.sha256
    for content in (folder.contents[5], packed.contents[5]):
        assert isinstance(content, ImageSource) and content.read_bytes() == files["dog/2.png"]
    assert not folder.faults


def test_the_zips_listing_keeps_hidden_members_out(tmp_path: Path) -> None:
    packed = read(
        zipped(
            tmp_path / "a.zip",
            {"a/1.png": picture(), "__MACOSX/a/._1.png": b"x", "b/.b.png": b"x", "b/2.png": picture()},
        )
    )
    assert packed.ids == ("a/1.png", "b/2.png")


def test_wrapped_zip_ids_keep_the_top_folders(tmp_path: Path) -> None:
    packed = read(
        zipped(
            tmp_path / "z.zip",
            {"x/y/train/b/1.png": picture(), "x/y/test/b/2.png": picture(), "x/y/train/a/3.png": picture()},
        )
    )
    assert packed.ids == ("x/y/test/b/2.png", "x/y/train/a/3.png", "x/y/train/b/1.png")
    assert words(packed) == ["b", "a", "b"]
    assert packed.test_mask is not None and packed.test_mask.tolist() == [True, False, False]
    assert packed.columns["parts"] == "train: train; test: test"


def test_texts_in_class_folders(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "good/1.txt": " fine \n",
        "good/2.txt": "tr\u00e8s bien",
        "bad/3.txt": "na\u00efve".encode("cp1252"),
        "bad/4.txt": b"\xff\xfe" + "ol\u00e9".encode("utf-16-le"),
        "bad/5.txt": b"\xef\xbb\xbfmarked",
        "bad/6.txt": " \n",
        "bad/7.txt": b"",
        "bad/8.txt": b"\x00\x01\x02",
        "bad/9.png": picture(),
    }
    for dataset in (read(tree(tmp_path / "t", files)), read(zipped(tmp_path / "t.zip", files))):
        assert dataset.modality == "text"
        assert dict(zip(dataset.ids, dataset.contents, strict=True)) == {
            "good/1.txt": "fine",
            "good/2.txt": "tr\u00e8s bien",
            "bad/3.txt": "na\u00efve",
            "bad/4.txt": "ol\u00e9",
            "bad/5.txt": "marked",
        }
        assert {fault.where: fault.problem.split(":")[0] for fault in dataset.faults} == {
            "bad/6.txt": "empty",
            "bad/7.txt": "empty",
            "bad/8.txt": "unreadable",
            "bad/9.png": "wrong type",
        }
        assert "cp1252 in 1 of 5" in dataset.columns["encoding"]


def test_loose_items_are_unlabelled(tmp_path: Path) -> None:
    loose = read(tree(tmp_path / "loose", {"1.png": picture(), "2.png": picture()}))
    assert words(loose) == [None, None] and loose.classes == () and not loose.faults
    with pytest.raises(DataError, match="no labelled item"):
        check_trainable(loose)
    mixed = read(tree(tmp_path / "mixed", {"1.png": picture(), "a/2.png": picture(), "b/3.png": picture()}))
    assert words(mixed) == [None, "a", "b"]
    assert [(f.where, f.problem.split(":")[0]) for f in mixed.faults] == [("1.png", "unlabelled")]


def test_one_picture_or_text_is_one_item(tmp_path: Path) -> None:
    tree(tmp_path, {"x.png": picture(), "y.txt": "hello", "z.txt": "", "w.docx": "x"})
    assert read(tmp_path / "x.png").contents == (ImageSource(tmp_path / "x.png"),)
    assert read(str(tmp_path / "y.txt")).contents == ("hello",)
    with pytest.raises(DataError, match="empty"):
        read(tmp_path / "z.txt")
    with pytest.raises(DataError, match="Allowed"):
        read(tmp_path / "w.docx")


def test_a_second_folder_is_the_test_part(tmp_path: Path) -> None:
    train = tree(tmp_path / "train", {"a/1.png": picture(), "b/2.png": picture()})
    test = tree(tmp_path / "test", {"a/1.png": picture(), "c/2.png": picture(), "b/0.png": b""})
    dataset = read(train, test=test)
    assert dataset.ids == ("a/1.png", "b/2.png", "test:a/1.png", "test:c/2.png")
    assert words(dataset) == ["a", "b", "a", None]
    assert sorted(f.where for f in dataset.faults) == ["test:b/0.png", "test:c/2.png"]
    with pytest.raises(UsageError, match="of its own"):
        read(tree(tmp_path / "both", {"train/a/1.png": picture(), "test/a/2.png": picture()}), test=test)
    with pytest.raises(DataError, match="texts"):
        read(train, test=tree(tmp_path / "texts", {"a/1.txt": "x"}))
    with pytest.raises(UsageError, match="same kind"):
        read(train, test=zipped(tmp_path / "z.zip", {"a/1.png": picture()}))


def test_strange_files_among_items_are_faults(tmp_path: Path) -> None:
    dataset = read(
        tree(
            tmp_path / "d",
            {
                "a/1.png": picture(),
                "a/notes.pdf": "x",
                "a/box.txt": "x",
                "b/2.png": b"",
                "docs/x.pdf": "x",
                "b/3.jpg": picture(),
            },
        )
    )
    assert dataset.ids == ("a/1.png", "b/3.jpg")
    assert {f.where: f.problem.split(":")[0] for f in dataset.faults} == {
        "a/notes.pdf": "wrong type",
        "a/box.txt": "wrong type",
        "b/2.png": "empty",
    }
    with pytest.raises(DataError, match=r"3 faults: .*--strict") as caught:
        read(tmp_path / "d", strict=True)
    assert len(caught.value.faults) == 3


def test_empty_and_useless_folders(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path / "empty")
    with pytest.raises(DataError, match="is empty"):
        read(zipped(tmp_path / "e.zip", {}))
    with pytest.raises(DataError, match=r"give one of them.*train\.csv"):
        read(tree(tmp_path / "tables", {"train.csv": "text,label\n", "more.bin": "x"}))
    with pytest.raises(DataError, match="no picture"):
        read(tree(tmp_path / "code", {"main.py": "x"}))
    with pytest.raises(DataError, match=r"Nothing in .*1 fault"):
        read(tree(tmp_path / "hollow", {"a/1.png": b""}))
    with pytest.raises(MissingError, match=r"Did you mean .*empty"):
        read(tmp_path / "emtpy")
    with pytest.raises(UsageError, match="--label"):
        read(tree(tmp_path / "one", {"a/1.png": picture()}), label="x")
    with pytest.raises(DataError, match="one class only, 'a'"):
        check_trainable(read(tmp_path / "one"))


def test_a_class_folder_without_a_file_is_told(tmp_path: Path) -> None:
    tree(tmp_path / "d", {"a/1.png": picture(), "b/deep/2.png": picture(), "notes/x.pdf": "x"})
    for hollow in ("c", "b/later", ".git"):  # only the first is beside the classes
        (tmp_path / "d" / hollow).mkdir()
    dataset = read(tmp_path / "d")
    assert dataset.classes == ("a", "b")
    assert [(f.where, f.problem.split(":")[0], f.about) for f in dataset.faults] == [("c", "empty", "label")]
    tree(tmp_path / "p", {"w/train/a/1.png": picture(), "w/train/b/2.png": picture(), "w/test/a/3.png": picture()})
    (tmp_path / "p/w/test/b").mkdir()
    assert [f.where for f in read(tmp_path / "p").faults] == ["w/test/b"]
    tree(tmp_path / "flat", {"1.png": picture(), "2.png": picture()})
    (tmp_path / "flat/later").mkdir()
    assert not read(tmp_path / "flat").faults


def test_links_and_pipes(tmp_path: Path) -> None:
    tree(tmp_path, {"secret/s.png": picture(), "d/a/1.png": picture(), "d/b/2.png": picture()})
    (tmp_path / "d/a/out.png").symlink_to(tmp_path / "secret/s.png")
    (tmp_path / "d/a/in.png").symlink_to(tmp_path / "d/b/2.png")
    (tmp_path / "d/a/gone.png").symlink_to(tmp_path / "d/none.png")
    (tmp_path / "d/c").symlink_to(tmp_path / "d")
    (tmp_path / "d/outer").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "d/a/pipe.png")
    dataset = read(tmp_path / "d")
    assert dataset.ids == ("a/1.png", "a/in.png", "b/2.png")
    problems = {fault.where: fault.problem for fault in dataset.faults}
    assert sorted(problems) == ["a/gone.png", "a/out.png", "a/pipe.png", "c", "outer"]
    assert "outside" in problems["a/out.png"] and "outside" in problems["outer"] and "regular" in problems["a/pipe.png"]
    assert "not followed" in problems["c"]
    (tmp_path / "door").symlink_to(tmp_path / "d")
    assert read(tmp_path / "door").ids == dataset.ids and read(tmp_path / "door").name == "door"


def test_folders_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "d", {"a/1.png": picture(), "b/2.png": picture(), "shut/3.png": picture()})
    listed = os.scandir

    def scandir(path: Path) -> object:  # the tests may run as root, who may read everything
        if Path(path).name in shut:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    shut = {"shut"}
    dataset = read(tmp_path / "d")
    assert len(dataset) == 2 and [(f.where, f.problem) for f in dataset.faults] == [
        ("shut", "the folder cannot be read: Permission denied")
    ]
    shut = {"d"}
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(tmp_path / "d")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    tree(tmp_path / "d", {"a/1.png": picture()})
    with open(os.fsencode(tmp_path / "d" / "a") + b"/\xff.png", "wb") as stream:  # noqa: PTH123 (a name pathlib cannot write)
        stream.write(picture())
    dataset = read(tmp_path / "d")
    assert dataset.ids == ("a/1.png",) and dataset.faults[0].problem == "its name is not UTF-8"
    dataset.faults[0].where.encode()
