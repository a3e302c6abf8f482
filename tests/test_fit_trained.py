"""`graft fit` with rungs that train, from the command line to the reloaded model: what it writes, refuses, survives."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_inputs
from tests.contracts.conftest import tiny_model  # noqa: F401
from tests.trainers.masked import masked_model

import graft
from graft import cli
from graft.errors import MissingError, ModelError
from graft.trainers.checkpoints import Checkpoints, State

SHORT = "epochs=2,splits=1,batch=8,range_test=off"
TRAIN = f"{SHORT},rate=1e-3"


@pytest.fixture(scope="module")
def encoder(tiny_model: Callable[[str], Path]) -> str:  # noqa: F811
    return f"dir:{tiny_model('sentence-transformer')}"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.table(tmp_path_factory.mktemp("table") / "news.csv", small_inputs.rows(30))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts without labels."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.csv"
    path.write_text("text\n" + "".join(f"{' '.join('klmnopqrst'[n:])}\n" for n in range(5)))
    return path


def fit(data: Path, out: Path, *flags: str) -> dict[str, Any]:
    """What `result.json` says after a fit that ended well."""
    assert cli.main(["fit", str(data), "--out", str(out), "--group", "none", *flags]) == 0
    tree: dict[str, Any] = json.loads((out / "result.json").read_text())
    return tree


def strategy(tree: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in tree["strategies"] if s["name"] == name)
    return found


@pytest.fixture(scope="module")
def fitted(table: Path, encoder: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("fitted") / "out"
    flags = (
        "--encoder",
        encoder,
        "--strategies",
        "last-blocks",
        "--train",
        f"{SHORT},rate=1e-3",
        "--retain",
        str(table),
    )
    return fit(table, out, *flags), out


def test_a_trained_rung_is_measured_reported_and_kept(fitted: tuple[dict[str, Any], Path]) -> None:
    tree, out = fitted
    assert tree["chosen"] == "last-blocks"
    assert tree["why"].startswith("Last-blocks was chosen. Last-blocks trained the encoder: ")
    assert "Of the strategies that leave the encoder as it is, " in tree["why"]
    own = strategy(tree, "last-blocks")
    assert own["status"] == "measured" and own["gain"]["n"] == own["metrics"]["accuracy"]["n"] > 2
    record = own["training"]
    assert (record["measured_on"], record["folds"], record["stopped"]) == ("one split", 1, "")
    assert 0 < record["trained"] < record["parameters"] and len(record["epochs"]) == 2
    assert any(s["versus_chosen"] for s in tree["strategies"] if s["name"] == own["gain_over"])
    assert (
        len([s for s in tree["strategies"] if s["status"] == "measured"]) >= 5
    )  # what is trained is set against the frozen
    assert {path.name for path in (out / "model" / "encoder").iterdir()} == {"encoder.json", "changes.safetensors"}
    assert "last-blocks" in (out / "report.html").read_text()
    assert "trained further" in (out / "model" / "README.md").read_text()
    assert "--train" in tree["command"] and "splits=1" in tree["command"]
    # with a frozen strategy named beside it, it would have to prove its gain when the result is reproduced
    assert "--strategies last-blocks " in tree["command"]


def test_the_model_read_back_answers_as_the_report_says(fitted: tuple[dict[str, Any], Path], table: Path) -> None:
    tree, out = fitted
    model = graft.load(out)
    assert model.manifest.tuned == "weights" and model.manifest.encoder.fingerprint == tree["encoder"]["fingerprint"]
    held = [int(item) for item in json.loads((out / "split.json").read_text())["test"]]
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    answers = model.predict([rows[i]["text"] for i in held])
    right = [answer.top[0][0] == rows[i]["label"] for answer, i in zip(answers, held, strict=True)]
    assert np.mean(right) == pytest.approx(tree["test"]["accuracy"]["value"])


def test_texts_without_labels_are_retained_by_their_masked_tokens(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masked_model(tmp_path)
    rows = [(" ".join("abcdef" if n % 2 else "uvwxyz") + " n" * (n % 7), "pq"[n % 2]) for n in range(60)]
    flags = ["--encoder", f"dir:{tmp_path}", "--strategies", "finetune", "--train", TRAIN, "--retain", str(corpus)]
    tree = fit(small_inputs.table(tmp_path / "t.csv", rows), tmp_path / "o", *flags)
    (kept,) = strategy(tree, "finetune")["training"]["retained"]
    assert (kept["name"], kept["measure"]) == ("masked tokens", "masked-token loss, nats")
    assert kept["before"] > 0 and kept["before"] != kept["after"]
    assert "Masked-token loss, nats" in (tmp_path / "o" / "report.html").read_text()
    assert f"Masked-token loss, nats {kept['before']:.3f} before" in " ".join(capsys.readouterr().out.split())


def test_pictures_without_labels_cannot_be_retained(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for n in range(3):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / f"{n}.png")
    words = ["fit", str(table), "--retain", str(tmp_path), "--out", str(tmp_path / "o"), "--strategies", "lora"]
    assert cli.main(words) == 2
    assert "holds pictures without labels" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["changes.safetensors", "encoder.json"])
def test_a_changed_or_lost_encoder_is_refused(name: str, fitted: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    shutil.copytree(fitted[1], tmp_path / "m")
    path = tmp_path / "m/model/encoder" / name
    content = path.read_bytes()
    for spoilt in (content[:-9] + b"!" + content[-8:], content[: len(content) // 2], b""):
        path.write_bytes(spoilt)
        with pytest.raises(ModelError, match="changed since"):
            graft.load(tmp_path / "m")
    path.unlink()
    with pytest.raises(MissingError, match=name):
        graft.load(tmp_path / "m")


def test_a_network_from_scratch(table: Path, encoder: str, tmp_path: Path) -> None:
    tree = fit(table, tmp_path / "only", "--encoder", encoder, "--strategies", "scratch", "--train", SHORT)
    assert tree["chosen"] == "scratch"
    model = graft.load(tmp_path / "only")
    assert model.manifest.tuned == "network"
    assert len(model.predict(["the team scored a goal", "salt and bread"])) == 2


def test_few_items_of_which_one_class_is_missing_from_the_split(encoder: str, tmp_path: Path) -> None:
    """Nothing is held out then: the model is judged on what the one split answered, and on nothing else."""
    rare = [*small_inputs.rows(9), *[(f"the sun and the rain {n}", "weather") for n in range(2)]]
    data = small_inputs.table(tmp_path / "few.csv", rare)
    tree = fit(data, tmp_path / "o", "--encoder", encoder, "--strategies", "last-blocks", "--train", SHORT)
    assert tree["data"]["test"] == 0 and tree["chosen"] == "last-blocks"
    split = strategy(tree, "last-blocks")["metrics"]["accuracy"]
    judged = np.array(tree["confusion"]["counts"])
    assert judged.sum() == split["n"] < 20
    assert np.trace(judged) / judged.sum() == pytest.approx(split["value"])
    assert graft.load(tmp_path / "o").predict_proba(["the sun"]).shape == (1, 3)


def test_without_folds_the_rungs_say_why_they_were_not_tried(encoder: str, tmp_path: Path) -> None:
    data = small_inputs.table(tmp_path / "two.csv", small_inputs.rows(1))
    tree = fit(data, tmp_path / "o", "--encoder", encoder, "--strategies", "lora")
    assert strategy(tree, "lora")["status"] == "skipped" and "folds" in strategy(tree, "lora")["reason"]


def test_rungs_that_are_not_asked_for_are_tried_only_where_there_is_something_to_gain(
    encoder: str, tmp_path: Path
) -> None:
    easy = [(f"{'cat' if n % 2 else 'house'} " * (1 + n % 5) + str(n), "ab"[n % 2]) for n in range(40)]
    tree = fit(small_inputs.table(tmp_path / "easy.csv", easy), tmp_path / "o", "--encoder", encoder)
    reasons = {s["name"]: s["reason"] for s in tree["strategies"] if s["rung"] > 6}
    assert reasons and all("too few for any rung" in reason for reason in reasons.values()), reasons
    assert not (tmp_path / "o/model/encoder").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--train", "rat=1"), "rate"),
        (("--train", "epochs"), "key=value"),
        (("--train", "batch=inf"), "batch=inf"),
        (("--strategies", "lorra"), "lora"),
        (("--retain", "nowhere.csv"), "nowhere.csv"),
        (("--track", "paper"), "wandb"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_refusals(
    flags: tuple[str, ...], said: str, table: Path, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    code = cli.main(["fit", str(table), "--out", str(out), "--encoder", encoder, "--json", *flags])
    told = capsys.readouterr()
    assert code in (2, 3, 4, 5) and said in told.out + told.err
    assert "Traceback" not in told.out + told.err and not out.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--train", "augment=blot+crop,ewc=1", "--coverage", "2"), ("'blot'", "--retain", "--coverage 2")),
        (("--train", "augment=crop,mixup=0.2,cutmix=1"), ("crop is for pictures", "mixup and cutmix: only pictures")),
        (("--strategies", "prototypes,prompt", "--train", "augment=auto+flip"), ("flip is for pictures",)),
        (("--strategies", "head-only,lora", "--train", "augment=swap"), ("head-only learns from vectors",)),
        (("--retain", "data:digits"), ("--retain data:digits holds pictures",)),
        (("--retain", "CORPUS", "--train", "ewc=1"), ("holds no head that guesses them", "which needs labels")),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_these_items_do_not_allow_is_refused_before_any_is_encoded(
    flags: tuple[str, ...],
    said: tuple[str, ...],
    table: Path,
    corpus: Path,
    encoder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of it at once."""

    def encoded(*_: Any, **__: Any) -> None:
        raise AssertionError("it went on to encode")

    monkeypatch.setattr("graft.fitting.steps.encode_items", encoded)
    flags = tuple(str(corpus) if flag == "CORPUS" else flag for flag in flags)
    assert cli.main(["fit", str(table), "--out", str(tmp_path / "o"), "--encoder", encoder, *flags]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert all(part in told for part in said), told


def test_text_augmentations_of_pictures_are_refused_before_any_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("graft.fitting.steps.encode_items", None)
    words = ["fit", "data:digits", "--out", str(tmp_path / "o"), "--train", "augment=typos+crop"]
    assert cli.main(words) == 2
    assert "typos is for texts, and these items are pictures: for them there are crop" in capsys.readouterr().err
    assert cli.main(["pretrain", "data:digits", "--supervised", *words[2:]]) == 2
    assert "typos is for texts" in capsys.readouterr().err


MAIN = "import sys; from graft import cli; sys.exit(cli.main(sys.argv[1:]))"


def test_killed_and_stopped_in_the_middle_of_a_training(
    fitted: tuple[dict[str, Any], Path],
    table: Path,
    encoder: str,
    private_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A kill, then Ctrl-C, then the same command to its end: the bits of the fit that nobody disturbed, and nothing left over."""
    words = ["fit", str(table), "--out", str(tmp_path / "o"), "--group", "none", "--encoder", encoder]
    words += ["--strategies", "last-blocks", "--train", TRAIN]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not [*private_cache.glob("training/*/*.safetensors")]:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = {path: path.read_bytes() for path in private_cache.glob("training/*/*.safetensors")}
    assert len(kept) == 1 and not [*tmp_path.iterdir()]
    save = Checkpoints.save
    with monkeypatch.context() as patched:

        def interrupted(self: Checkpoints, state: Callable[[], State], *, inside: bool = False) -> bool:
            if save(self, state, inside=inside):
                raise KeyboardInterrupt
            return False

        patched.setattr(Checkpoints, "save", interrupted)
        assert cli.main(words) == 130
    told = capsys.readouterr()
    assert "give the same command again" in told.err + told.out and "Traceback" not in told.err
    assert kept != {
        path: path.read_bytes() for path in private_cache.glob("training/*/*.safetensors")
    }  # it had gone on
    assert not [*tmp_path.iterdir()]
    assert cli.main(words) == 0
    assert not [*private_cache.glob("training/*/*")]
    for name in ("head.safetensors", "encoder/changes.safetensors", "encoder/encoder.json"):
        assert (tmp_path / "o/model" / name).read_bytes() == (fitted[1] / "model" / name).read_bytes(), name
