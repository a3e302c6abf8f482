"""`graft pretrain` makes encoders like any other: opened by their folder, fitted on, taught by a teacher, trained by several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import graft
from graft import cli
from graft.data.read import read
from graft.errors import DataError, MissingError, ModelError, UsageError
from graft.fitting import pretraining
from graft.fitting.pretraining import PretrainResult, ask, enrol, recipe_of, with_and_without
from graft.results import from_json

SMALL: dict[str, Any] = {"supervised": True, "train": "epochs=3,channels=8"}
HARBOUR = ("ferry", "pier", "boat", "quay", "crane", "cargo", "ship", "anchor")
KITCHEN = ("eggs", "flour", "soup", "stove", "onion", "knife", "bread", "oven")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-five of each of four digits, as files of 8 × 8 pixels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    held, folder = load_digits(), tmp_path_factory.mktemp("digits") / "four"
    for digit in range(4):
        (folder / str(digit)).mkdir(parents=True)
        for row in np.flatnonzero(held.target == digit)[:25]:
            picture = Image.fromarray(np.rint(held.images[row] * (255 / 16)).astype(np.uint8))
            picture.save(folder / str(digit) / f"{row}.png")
    return folder


@pytest.fixture(scope="session")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    return graft.pretrain(digits, **SMALL, out=tmp_path_factory.mktemp("pretrain") / "cnn")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty texts of two classes that share no word but the first."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("texts") / "places.csv"
    rows = ["text,label"]
    for number in range(60):
        words = rng.choice(KITCHEN if number % 2 else HARBOUR, 5, replace=True)
        rows.append(f"the {' '.join(words)} {number},{'kitchen' if number % 2 else 'harbour'}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_what_it_writes_is_an_encoder_like_any_other(digits: Path, trained: PretrainResult) -> None:
    folder = Path(trained.out)
    assert sorted(path.name for path in folder.iterdir()) == ["changes.safetensors", "encoder.json", "result.json"]
    assert trained.network == "cnn" and trained.encoder.dim == 32 and trained.encoder.reference == f"dir:{folder}"
    assert (trained.train, trained.measured) == (80, 20) and trained.split.startswith("20% held out")
    assert trained.test is not None and trained.test["accuracy"].value > 0.5  # of four classes
    assert len(trained.training.epochs) == 3 and trained.training.method == "supervised"
    assert trained.training.epochs[-1].loss < trained.training.epochs[0].loss
    assert trained.training.trained == trained.training.parameters > 1000
    assert from_json(PretrainResult, json.loads((folder / "result.json").read_text())) == trained
    encoder = graft.open_encoder(f"dir:{folder}")
    assert encoder.info.fingerprint == trained.encoder.fingerprint
    vectors = encoder.encode(sorted((digits / "0").iterdir()))
    assert vectors.shape == (25, 32) and np.isfinite(vectors).all() and vectors.std(axis=0).max() > 0
    fitted = graft.fit(digits, encoder=f"dir:{folder}", strategies="linear-probe", out=folder.parent / "fit")
    assert fitted.test is not None and fitted.test["accuracy"].value > 0.8
    from graft.verbs.show import show

    assert show(folder) == trained


def test_the_same_seed_gives_the_same_bits(digits: Path, trained: PretrainResult, tmp_path: Path) -> None:
    for seed in (0, 1):
        again = graft.pretrain(digits, **SMALL, seed=seed, out=tmp_path / str(seed))
        same = [load_file(Path(f) / "changes.safetensors") for f in (trained.out, again.out)]
        equal = all(np.array_equal(same[0][name], same[1][name]) for name in same[0])
        assert equal == (seed == 0)


@pytest.fixture(scope="session")
def teacher(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted model that knows the four digits, in an order of its own."""
    out = tmp_path_factory.mktemp("teacher") / "model"
    graft.fit(digits, encoder="pixels:8", strategies="linear-probe", out=out)
    return out


def test_a_teacher_is_learned_from(digits: Path, teacher: Path, trained: PretrainResult, tmp_path: Path) -> None:
    taught = graft.pretrain(digits, **SMALL, teacher=teacher, out=tmp_path / "taught")
    assert taught.training.method == "distillation" and taught.teacher == str(teacher)
    assert taught.training.recipe["teacher_temperature"] == 2.0 and taught.training.recipe["teacher_weight"] == 0.5
    assert taught.teacher_accuracy is not None and taught.teacher_accuracy.value > 0.8
    plain, other = (load_file(Path(f) / "changes.safetensors") for f in (trained.out, taught.out))
    assert any(not np.array_equal(plain[name], other[name]) for name in plain)


def test_what_a_teacher_is_worth_is_paired(digits: Path, teacher: Path) -> None:
    recipe = recipe_of(None, "epochs=2,channels=8")
    here = enrol(read(digits), network=None, recipe=recipe, split=None, test=None, seed=0)
    found = ask(teacher, here)
    assert found.p_NC.shape == (100, 4)
    np.testing.assert_allclose(found.p_NC.sum(axis=1), 1.0)
    assert (found.p_NC.argmax(axis=1) == here.dataset.labels).mean() > 0.9
    worth = with_and_without(here, found)
    assert worth.gain.value == pytest.approx(worth.taught.value - worth.alone.value)
    assert worth.gain.n == worth.teacher.n == 20


def test_none_leaves_rate_and_epochs_to_the_network() -> None:
    """Read as no rate at all, nothing would have been trained, and nothing said."""
    plain = recipe_of(None, "")("image")
    assert plain.rate and plain.epochs and recipe_of(None, "rate=none,epochs=none")("image") == plain
    with pytest.raises(UsageError, match="head: not used"):
        recipe_of("minilm", "head=refit")


def test_texts_get_a_bag_of_words(texts: Path, tmp_path: Path) -> None:
    result = graft.pretrain(texts, supervised=True, train="epochs=10,rate=1e-2,patience=9", out=tmp_path / "bag")
    assert result.network == "bag" and result.modality == "text"
    assert result.test is not None and result.test["accuracy"].value > 0.9
    assert all(epoch.validation_loss is not None for epoch in result.training.epochs)
    first = graft.open_encoder(result.encoder.reference).encode(["ferry and pier", "soup and onion", "quay and boat"])
    near = first @ first.T
    assert near[0, 2] > near[0, 1]


def test_an_encoder_that_is_named_learns_further(digits: Path, trained: PretrainResult, tmp_path: Path) -> None:
    further = graft.pretrain(
        digits, supervised=True, network=f"dir:{trained.out}", train="epochs=1", test="0.3", out=tmp_path / "further"
    )
    assert further.network == f"dir:{trained.out}" and further.encoder.dim == 32
    assert further.encoder.fingerprint != trained.encoder.fingerprint
    assert graft.open_encoder(further.encoder.reference).encode([digits / "0" / "0.png"]).shape == (1, 32)


KILLED = """
import os, signal, sys
from graft.trainers import checkpoints
from graft.trainers.checkpoints import Checkpoints
checkpoints.WORTH = 0  # keep every epoch, however short
real, count = Checkpoints._write, 0
def write(*args):
    global count
    real(*args)
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoints._write = write
from graft.cli import main
main(sys.argv[1:])
"""


def test_the_same_command_goes_on_after_kill_9(
    digits: Path, trained: PretrainResult, private_cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", str(digits), "--supervised", "--train", SMALL["train"], "--out", str(tmp_path / "o")]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = list((private_cache / "training").rglob("pretrain.safetensors"))
    assert len(kept) == 1 and not (tmp_path / "o").exists()
    assert cli.main([*words, "--json"]) == 0
    losses = [epoch["loss"] for epoch in json.loads(capfd.readouterr().out)["training"]["epochs"]]
    assert losses == [epoch.loss for epoch in trained.training.epochs]
    whole, resumed = (load_file(Path(f) / "changes.safetensors") for f in (trained.out, tmp_path / "o"))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    assert not kept[0].exists()


def test_two_processes_train_what_one_does(digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "pretrain",
        str(digits),
        "--supervised",
        "--train",
        "epochs=2,channels=8,optimiser=sgd,rate=0.05",
        "--json",
    ]
    assert cli.main([*words, "--out", str(tmp_path / "one")]) == 0
    alone = capfd.readouterr().out
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GRAFT_THREADS": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("RANK", "WORLD_SIZE")}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "graft", *words, "--out", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    outputs = [json.loads(alone), json.loads(done.stdout)]  # one object: one process speaks
    one, two = (load_file(tmp_path / name / "changes.safetensors") for name in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-5)
    losses = [[epoch["loss"] for epoch in output["training"]["epochs"]] for output in outputs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_everything_that_is_wrong_is_said_at_once(
    digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", str(digits), "--train", "rank=3,epochs=x", "--test", "7", "--seed", "-1"]
    assert cli.main([*words, "--out", str(tmp_path / "o")]) == 2
    out, err = capfd.readouterr()
    for part in ("rank: not used", "epochs=x", "--test 7", "--seed -1", "--supervised"):
        assert part in err
    assert out == "" and "Traceback" not in err and not (tmp_path / "o").exists()


def test_what_cannot_be_learned_is_refused(
    digits: Path, teacher: Path, texts: Path, trained: PretrainResult, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    with pytest.raises(UsageError, match="bag is for texts, and these data are pictures: cnn"):
        graft.pretrain(digits, **SMALL | {"train": "epochs=1"}, network="bag", out=out)
    with pytest.raises(UsageError, match="exists, and results are never overwritten"):
        graft.pretrain(digits, **SMALL, out=trained.out)
    with pytest.raises(UsageError, match="mixup would mix labels"):
        graft.pretrain(digits, supervised=True, train="epochs=1,channels=4,mixup=0.2", teacher=teacher, out=out)
    with pytest.raises(UsageError, match=r"reads pictures, and these data are texts"):
        graft.pretrain(texts, supervised=True, teacher=teacher, out=out)
    with pytest.raises(MissingError):
        graft.pretrain(digits, **SMALL, teacher=tmp_path / "nobody", out=out)
    with pytest.raises(UsageError, match="minilm"):
        graft.pretrain(digits, supervised=True, network="minilm", out=out)
    other = tmp_path / "other"
    for name in ("0", "9"):
        (other / name).mkdir(parents=True)
        for path in (digits / "0").iterdir():
            (other / name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="does not know '9'"):
        graft.pretrain(other, **SMALL, teacher=teacher, out=out)
    assert not out.exists()


def test_pictures_that_cannot_be_read_are_listed(digits: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for path in digits.glob("[01]/*.png"):
        (data / path.parent.name).mkdir(parents=True, exist_ok=True)
        (data / path.parent.name / path.name).write_bytes(path.read_bytes())
    broken = sorted((data / "0").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:40])
    result = graft.pretrain(data, supervised=True, train="epochs=1,channels=4", out=tmp_path / "o")
    assert [fault.where for fault in result.faults] == [f"0/{broken.name}"]
    assert result.train + result.measured == 49
    with pytest.raises(DataError, match="1 items are faulty"):
        graft.pretrain(data, supervised=True, strict=True, out=tmp_path / "p")
    for path in data.glob("1/*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError):
        graft.pretrain(data, supervised=True, train="epochs=1,channels=4", out=tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_an_encoder_that_comes_back_changed_is_not_kept(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "CLOSE", -1.0)
    with pytest.raises(ModelError, match="nothing was kept"):
        graft.pretrain(digits, supervised=True, train="epochs=1,channels=4", out=tmp_path / "o")
    assert not (tmp_path / "o").exists()
