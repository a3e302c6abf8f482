"""`graft tune` searches on a part that no trial learns from, goes on after a kill, and refuses what cannot work before it reads."""

from __future__ import annotations

import inspect
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_inputs

import graft
from graft import cli
from graft.errors import DataError, MissingError, ModelError, StorageError, UsageError
from graft.fitting import validation
from graft.results import TuneResult
from graft.store.files import alone
from graft.strategies.trained import TRAINED
from graft.trainers.recipe import read_settings, with_settings
from graft.verbs.tune import tune

GRID: dict[str, Any] = {
    "strategy": "linear-probe",
    "over": "c=0.01..100:log/3",
    "method": "grid",
    "encoder": "pixels:8",
}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty of each of four digits, as files of 8 × 8 pixels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    held, folder = load_digits(), tmp_path_factory.mktemp("digits") / "four"
    for digit in range(4):
        (folder / str(digit)).mkdir(parents=True)
        for row in np.flatnonzero(held.target == digit)[:20]:
            picture = Image.fromarray(np.rint(held.images[row] * (255 / 16)).astype(np.uint8))
            picture.save(folder / str(digit) / f"{row}.png")
    return folder


@pytest.fixture(scope="session")
def searched(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    return graft.tune(digits, **GRID, out=tmp_path_factory.mktemp("tune") / "out")


def test_what_is_found_and_written(searched: TuneResult) -> None:
    assert [trial.settings for trial in searched.trials] == [{"c": c} for c in (1.0, 0.01, 100.0)]  # 1 is tried once
    assert searched.parameters == {"c": "0.01, 1 or 100"}
    assert searched.baseline == searched.trials[0].score
    scores = [trial.score or 0.0 for trial in searched.trials]
    assert searched.best_trial is not None and searched.best_trial.score == max(scores)
    folder = Path(searched.out)
    tree = json.loads((folder / "result.json").read_text())
    assert tree["best"] == searched.best and tree["schema"] == 1 and len(tree["trials"]) == 3
    assert "<html" in (folder / "report.html").read_text()
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 3
    assert searched.command.startswith("graft tune ") and "--method grid" in searched.command
    assert graft.fit is not None and "--strategies linear-probe" in searched.fit and "--train" not in searched.fit
    from graft.verbs.show import show

    assert show(folder) == searched


def test_trials_know_the_class_names_as_a_fit_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are items of contrastive batches: without them another training than that of `fit` would be searched."""
    met: list[Any] = []

    def tuned(*given: Any) -> Any:
        met.append(given[1].store.class_texts)
        raise ModelError("that was all")

    monkeypatch.setattr("graft.strategies.tuning.tune", tuned)
    data = small_inputs.table(tmp_path / "news.csv", small_inputs.rows(12))
    over: dict[str, Any] = {"strategy": "contrastive", "over": "last=1|2", "method": "grid", "group": "none"}
    graft.tune(data, **over, out=tmp_path / "o")
    assert len(met) == 3 and all(len(texts) == 2 for texts in met)


def test_every_trial_has_the_same_part_and_never_the_test_part(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real: Callable[..., Any] = validation.subject

    def watched(name: str, where: validation.Field, *args: Any, **others: Any) -> Any:
        seen.append(where)
        return real(name, where, *args, **others)

    monkeypatch.setattr(validation, "subject", watched)
    for path in digits.glob("0/*.png"):  # copies stay together
        shutil.copytree(digits, tmp_path / "data", dirs_exist_ok=True)
        shutil.copy(path, tmp_path / "data" / "0" / f"copy-{path.name}")
    result = graft.tune(tmp_path / "data", **GRID, out=tmp_path / "o")
    (where,) = seen
    fitted = graft.fit(tmp_path / "data", encoder="pixels:8", strategies="prototypes", out=tmp_path / "f")
    split = json.loads((Path(fitted.out) / "split.json").read_text())
    assert set(where.dataset.ids) == set(split["train"])
    learn, held = ({where.dataset.ids[i] for i in part} for part in (where.learn, where.held))
    assert learn | held == set(split["train"]) and not learn & held
    assert len(held) == pytest.approx(0.2 * len(where.dataset), abs=3)
    assert set(where.y_N[where.held]) == {0, 1, 2, 3}
    assert not {item.replace("copy-", "") for item in learn} & {item.replace("copy-", "") for item in held}
    from graft.heads.linear import fit_path

    (head,) = fit_path(where.x_ND[where.learn], where.y_N[where.learn], 4, cs=(100.0,))
    right = head.logits(where.x_ND[where.held]).argmax(axis=1) == where.y_N[where.held]
    assert result.trials[2].settings == {"c": 100.0} and result.trials[2].score == pytest.approx(right.mean())


SCRATCH: dict[str, Any] = {
    "strategy": "scratch",
    "over": "rate=1e-3|1e-2,channels=4|8",
    "method": "grid",
    "train": "epochs=2,batch=32",
    "encoder": "pixels:8",
}


def test_a_rung_that_trains_is_searched_by_its_recipe(digits: Path, tmp_path: Path) -> None:
    result = graft.tune(digits, **SCRATCH, out=tmp_path / "o")
    assert result.trials[0].settings == {"rate": 1e-3, "channels": 32}  # the recipe's own
    assert [tuple(trial.settings.values()) for trial in result.trials[1:]] == [
        (1e-3, 4),
        (1e-3, 8),
        (1e-2, 4),
        (1e-2, 8),
    ]
    assert {trial.status for trial in result.trials} == {"measured"}, result.trials
    assert len({trial.score for trial in result.trials}) > 1
    words = shlex.split(result.fit)
    assert words[:3] == ["graft", "fit", str(digits)]
    if result.best:
        given = read_settings(words[words.index("--train") + 1])
        assert given["range_test"] == "false"  # a rate that was searched is not moved again
        recipe = with_settings(TRAINED["scratch"].recipes["image"], given)
        best = result.best_trial
        assert best is not None
        assert (recipe.rate, recipe.channels, recipe.epochs, recipe.batch) == (*best.settings.values(), 2, 32)
    assert not (tmp_path / "o" / "trial.safetensors").exists()


def test_a_trial_that_diverges_or_cannot_work_is_a_result(digits: Path, tmp_path: Path) -> None:
    result = graft.tune(
        digits,
        strategy="scratch",
        over="rate=1e-3|100,kernel=3|4",
        method="grid",
        train="epochs=3,channels=4,optimiser=sgd,clip=0,weight_decay=10,schedule=constant,warmup=0",
        encoder="pixels:8",
        out=tmp_path / "o",
    )
    reasons = {(t.settings["rate"], t.settings["kernel"]): t.reason for t in result.trials}
    assert "odd" in reasons[1e-3, 4]  # no kernel of that size
    assert reasons[100.0, 3].startswith("The loss was ")
    assert [t.status for t in result.trials].count("failed") == 3
    assert result.trials[0].status == "measured" and result.best is not None
    assert validation.diverged("The loss was nan at step 3 of 9. The weights are those before the first epoch.")
    assert validation.diverged("The validation loss was inf after epoch 2.")
    assert not validation.diverged("The validation loss did not become smaller for 3 epochs.")
    assert not validation.diverged("The time limit of 3 s passed in epoch 2.")


KILLED = """
import os, signal, sys
from graft.fitting import searching
real, count = searching._try, 0
def tried(*args):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
searching._try = tried
from graft.cli import main
main(sys.argv[1:])
"""


def test_the_same_command_goes_on_after_kill_9(
    digits: Path, searched: TuneResult, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(digits), *shlex.split("--strategy linear-probe --over c=0.01..100:log/3 --method grid")]
    words += ["--encoder", "pixels:8", "--out", str(tmp_path / "o")]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "o" / "result.json").exists()
    assert cli.main([*words, "--json"]) == 0
    tree = json.loads(capfd.readouterr().out)
    assert [(t["settings"], t["score"]) for t in tree["trials"]] == [(t.settings, t.score) for t in searched.trials]
    assert tree["best"] == searched.best and tree["gain"] == (
        None
        if searched.gain is None
        else {name: getattr(searched.gain, name) for name in ("value", "low", "high", "n")}
    )
    assert cli.main([*words[:-1], str(tmp_path / "o"), "--seed", "1"]) == 2
    err = capfd.readouterr().err
    assert "holds another search" in err and "Traceback" not in err


def test_a_folder_in_which_another_process_searches_is_refused(
    digits: Path, searched: TuneResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is encoded where the search has begun."""
    shutil.copytree(searched.out, tmp_path / "begun")
    before = {path: path.read_bytes() for path in (tmp_path / "begun").rglob("*") if path.is_file()}
    with alone(tmp_path / "new"), pytest.raises(StorageError, match="Another process is at work"):
        graft.tune(digits, **GRID, out=tmp_path / "new")
    assert not [*(tmp_path / "new").iterdir()]
    with monkeypatch.context() as patched:
        patched.setattr("graft.fitting.steps.encode_items", None)
        with alone(tmp_path / "begun"), pytest.raises(StorageError, match="Another process is at work"):
            graft.tune(digits, **GRID, out=tmp_path / "begun")
    assert before == {path: path.read_bytes() for path in (tmp_path / "begun").rglob("*") if path.is_file()}
    assert graft.tune(digits, **GRID, out=tmp_path / "new").best == searched.best


def test_bayes_goes_on_with_more_trials_and_says_nothing_of_its_own(
    digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(digits), *shlex.split("--strategy linear-probe --over c=0.001..100:log --encoder pixels:8")]
    words += ["--shots", "10", "--out", str(tmp_path / "o")]
    assert cli.main([*words, "--trials", "3", "--json"]) == 0
    out, err = capfd.readouterr()
    first = json.loads(out)["trials"]
    assert err == "" and len(first) == 3
    assert cli.main([*words, "--trials", "6"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and "To use them: graft fit" in out and "INFO" not in out
    trials = json.loads((tmp_path / "o" / "result.json").read_text())["trials"]
    assert trials[:3] == first and len(trials) == 6
    assert len({json.dumps(trial["settings"]) for trial in trials}) == 6


def test_everything_that_is_wrong_is_said_at_once(
    digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(digits), "--strategy", "lora", "--over", "rate=2..1,foo=1..2", "--out", str(tmp_path / "o")]
    words += ["--budget", "soon", "--trials", "1", "--test", "2", "--shots", "0", "--train", "bar=1", "--seed", "-1"]
    assert cli.main(words) == 2
    out, err = capfd.readouterr()
    for part in ("rate=2..1", "'foo'", "'bar'", "--budget 'soon'", "--trials 1", "--test 2", "--shots 0", "--seed -1"):
        assert part in err
    assert out == "" and "Traceback" not in err
    assert not (tmp_path / "o").exists()


def test_what_cannot_be_searched_is_refused(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "o"
    with pytest.raises(UsageError, match="zero-shot has no settings"):
        graft.tune(digits, strategy="zero-shot", over="c=1|2", out=out)
    with pytest.raises(UsageError, match="prompt cannot run here: it is for texts"):
        graft.tune(digits, strategy="prompt", over="length=4|8", method="grid", encoder="pixels:8", out=out)
    with pytest.raises(UsageError, match="named-prototypes cannot run here"):
        graft.tune(digits, **GRID | {"strategy": "named-prototypes", "over": "name_weight=1|2"}, out=out)
    with pytest.raises(UsageError, match="is endless"):
        graft.tune(digits, **GRID | {"over": "c=1..2"}, out=out)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"graft\[tune\]"):
        graft.tune(digits, **GRID | {"method": "bayes"}, out=out)
    monkeypatch.undo()
    few = tmp_path / "few"
    for name in ("0", "1"):
        shutil.copytree(digits / name, few / name, ignore=lambda _, files: sorted(files)[1:])
    with pytest.raises(DataError, match="too few for a search"):
        graft.tune(few, **GRID, out=out)
    assert not out.exists()


def test_its_signature_keeps_its_promises() -> None:
    defaults = tune.__kwdefaults__ or {}
    assert (defaults["trials"], defaults["method"], defaults["metric"]) == (20, "bayes", "accuracy")
    assert [p.name for p in inspect.signature(tune).parameters.values() if p.default is p.empty] == [
        "data",
        "strategy",
        "over",
    ]
