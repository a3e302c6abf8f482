"""The artefact: what is saved comes back bit for bit, and what was changed, is newer or incomplete is refused by name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from graft import artifact
from graft.artifact import Manifest, Origin
from graft.errors import GraftError, MissingError, ModelError, StorageError, UsageError
from graft.results import (
    Abstention,
    Calibration,
    DataSummary,
    EncoderSummary,
    FitResult,
    Interval,
    StrategyResult,
    to_json,
)

RNG = np.random.default_rng(0)
SAMPLE = RNG.normal(size=(5, 4)).astype(np.float32)
ENCODER = EncoderSummary("minilm", "f" * 64, "s", 4, "text", format="f32", device="cpu")
CALIBRATION = Calibration(2.0, 1.0, 0.9, 0.1, 0.02)
ABSTENTION = Abstention(
    0.6, 0.9, "test", Interval(0.1, 0.05, 0.2, 50), Interval(0.02, 0.0, 0.1, 45), Interval(0.06, 0.02, 0.15, 50)
)


class Linear:
    """A head of two arrays, enough to see that they travel."""

    def __init__(self, weight_CD: NDArray[Any], bias_C: NDArray[Any], scale: float = 1.0) -> None:
        self.weight_CD, self.bias_C, self.scale = weight_CD, bias_C, scale

    def fit(self, x_ND: Any, y_N: Any, n_classes: int) -> Self:  # noqa: ARG002
        return self

    def logits(self, x_ND: Any) -> NDArray[np.float64]:
        result: NDArray[np.float64] = self.scale * (x_ND @ self.weight_CD.T + self.bias_C).astype(np.float64)
        return result

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return {"weight": self.weight_CD, "bias": self.bias_C}, {"scale": self.scale}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        return cls(arrays["weight"], arrays["bias"], config["scale"])


HEAD = Linear(RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=3).astype(np.float32), scale=1.5)


def rebuild(strategy: str, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Linear:
    assert strategy == "linear-probe"
    return Linear.from_state(arrays, config)


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        graft="0.1.0",
        created="2025-01-01T00:00:00+00:00",
        name="birds",
        classes=("finch", "tit | wren", "Äther"),
        encoder=ENCODER,
        strategy="linear-probe",
        settings={"l2": 0.1},
        head=HEAD.state()[1],
        calibration=CALIBRATION,
        abstention=ABSTENTION,
        metrics={"accuracy": Interval(0.94, 0.88, 0.98, 50)},
        measured_on="test",
        data=Origin(name="birds", items=100, train=50, test=50, counts=(20, 17, 13)),
    )
    return replace(made, **changes)


def saved(folder: Path, made: Manifest | None = None) -> Path:
    made = made or manifest()
    expected = artifact.probabilities(HEAD, SAMPLE, made.temperature)
    artifact.save(folder, made, HEAD.state()[0], sample_x=SAMPLE, sample_answers=expected, rebuild=rebuild)
    return folder


def edit(folder: Path, **changes: Any) -> None:
    """Change the manifest as somebody with a careful hand would: its own digest is made to fit again."""
    tree = json.loads((folder / "graft.json").read_text()) | changes
    tree.pop("digest", None)
    tree["digest"] = hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (folder / "graft.json").write_text(json.dumps(tree))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    opened = artifact.load(saved(tmp_path / "model"))
    assert opened.manifest == replace(manifest(), files=opened.manifest.files)
    assert opened.arrays.keys() == {"weight", "bias"}
    np.testing.assert_array_equal(opened.arrays["weight"], HEAD.weight_CD)
    np.testing.assert_array_equal(
        artifact.probabilities(rebuild("linear-probe", opened.arrays, opened.manifest.head), SAMPLE, 2.0),
        artifact.probabilities(HEAD, SAMPLE, 2.0),
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["README.md", "graft.json", "head.safetensors"]


@settings(max_examples=20, deadline=None)
@given(
    names=st.lists(
        st.text(min_size=1, max_size=12).filter(lambda s: s.isprintable()), min_size=1, max_size=5, unique=True
    ),
    temperature=st.floats(0.01, 100),
)
def test_any_names_survive(tmp_path_factory: pytest.TempPathFactory, names: list[str], temperature: float) -> None:
    made = manifest(classes=tuple(names), name=names[0], calibration=replace(CALIBRATION, temperature=temperature))
    folder = saved(tmp_path_factory.mktemp("any") / "model", made)
    assert artifact.read_manifest(folder).classes == tuple(names)
    assert artifact.read_manifest(folder).temperature == temperature


def test_probabilities_are_a_softmax_at_a_temperature() -> None:
    head = Linear(np.array([[np.log(2.0)], [0.0]]), np.zeros(2))
    np.testing.assert_allclose(artifact.probabilities(head, np.ones((1, 1), np.float32), 1.0), [[2 / 3, 1 / 3]])
    np.testing.assert_allclose(artifact.probabilities(head, np.ones((1, 1), np.float32), 0.5), [[4 / 5, 1 / 5]])
    huge = Linear(np.array([[1e4], [0.0]]), np.zeros(2))
    np.testing.assert_allclose(artifact.probabilities(huge, np.ones((1, 1), np.float32), 1.0), [[1.0, 0.0]])


def test_a_copy_that_answers_differently_is_not_kept(tmp_path: Path) -> None:
    expected = artifact.probabilities(HEAD, SAMPLE, 2.0)
    for probabilities, message in (
        (expected + 1e-3, "differs"),
        (expected * np.nan, "differs"),
        (expected[:, :2], "shape"),
    ):
        with pytest.raises(ModelError, match=message):
            artifact.save(
                tmp_path / "model",
                manifest(),
                HEAD.state()[0],
                sample_x=SAMPLE,
                sample_answers=probabilities,
                rebuild=rebuild,
            )
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_never_overwritten(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    with pytest.raises(UsageError, match="exists"):
        saved(tmp_path / "model")


@pytest.mark.parametrize("name", ["graft.json", "head.safetensors"])
@pytest.mark.parametrize("change", ["flip", "cut", "empty"])
def test_a_changed_file_is_refused_and_named(tmp_path: Path, name: str, change: str) -> None:
    path = saved(tmp_path / "model") / name
    content = bytearray(path.read_bytes())
    if change == "flip":
        content[content.index(b"f" if name == "graft.json" else content[-3:])] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": bytes(content[:-10]), "empty": b""}[change])
    with pytest.raises(ModelError, match=name):
        artifact.load(tmp_path / "model")


def test_the_classes_cannot_be_swapped_quietly(tmp_path: Path) -> None:
    path = saved(tmp_path / "model") / "graft.json"
    tree = json.loads(path.read_text())
    tree["classes"] = tree["classes"][::-1]
    path.write_text(json.dumps(tree))
    with pytest.raises(ModelError, match="changed since"):
        artifact.load(tmp_path / "model")


def test_the_card_may_be_edited_and_the_manifest_reformatted(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / "README.md").write_text("Mine.")
    (folder / "graft.json").write_text(json.dumps(json.loads((folder / "graft.json").read_text())))
    assert artifact.load(folder).manifest.classes == manifest().classes


def test_a_newer_schema_is_refused_before_anything_else(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / "graft.json").write_text(json.dumps({"schema": artifact.SCHEMA + 1, "all": "different"}))
    with pytest.raises(ModelError, match=r"schema 2.*newer.*pip install --upgrade graft"):
        artifact.load(folder)


def test_an_older_schema_is_migrated_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "model")
    edit(folder, schema=-1, strategy=None, head_kind="linear")
    with pytest.raises(ModelError, match="schema -1"):
        artifact.load(folder)
    steps = {
        -1: lambda tree: {**tree, "strategy": tree.pop("head_kind")},
        0: lambda tree: {**tree, "strategy": tree["strategy"] + "-probe"},
    }
    monkeypatch.setattr(artifact, "MIGRATIONS", steps)
    migrated = artifact.load(folder).manifest
    assert (migrated.schema, migrated.strategy) == (artifact.SCHEMA, "linear-probe")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret", "link", "nul\0"])
def test_a_file_outside_the_folder_is_not_opened(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path / "model")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    edit(folder, files={**artifact.read_manifest(folder).files, name: digest})
    with pytest.raises(ModelError, match="outside"):
        artifact.load(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"schema": "1"}', b"\xff\xfe\x00", b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "word", "binary", "deep"],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = saved(tmp_path / "model")
    (folder / "graft.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"graft\.json"):
        artifact.load(folder)


def test_a_manifest_without_a_field_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    tree = json.loads((folder / "graft.json").read_text())
    for key, value in (("classes", None), ("encoder", 3), ("data", {}), ("files", {})):
        edit(folder, **{key: value})
        with pytest.raises(ModelError, match=r"graft\.json"):
            artifact.load(folder)
        edit(folder, **{key: tree[key]})


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no model at"):
        artifact.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="not a Graft model"):
        artifact.load(tmp_path / "empty")
    folder = saved(tmp_path / "model")
    (folder / "head.safetensors").unlink()
    with pytest.raises(MissingError, match=r"head\.safetensors"):
        artifact.load(folder)


def test_the_folder_of_a_fit_leads_to_its_model(tmp_path: Path) -> None:
    folder = saved(tmp_path / "out" / "model")
    assert artifact.find(tmp_path / "out") == artifact.find(folder) == artifact.find(folder / "graft.json") == folder


def fit_result(test: dict[str, Interval] | None) -> FitResult:
    cv = {"accuracy": Interval(0.9, 0.8, 0.95, 50)}
    return FitResult(
        name="birds",
        task="classify",
        chosen="linear-probe",
        why="It was best.",
        metric="accuracy",
        seed=0,
        test=test,
        strategies=(
            StrategyResult("prototypes", 1, "measured", metrics=cv),
            StrategyResult("linear-probe", 4, "measured", metrics=cv, settings={"l2": 0.1}),
        ),
        data=DataSummary("birds", "birds/", "folder", "text", 100, 50, 50, ("a", "b", "c"), (20, 17, 13)),
        encoder=ENCODER,
        encoders=(ENCODER,),
        calibration=CALIBRATION,
        abstention=None,
        confusion=None,
        per_class=(),
        suspects=(),
        folds="5 folds",
        seconds={},
        environment={"python": "3.11"},
        command="",
    )


def test_a_manifest_tells_what_the_result_tells() -> None:
    test = {"accuracy": Interval(0.94, 0.88, 0.98, 50)}
    made = Manifest.of(fit_result(test), head={"scale": 1.0})
    assert (made.metrics, made.measured_on, made.settings) == (test, "test", {"l2": 0.1})
    assert (made.data.train, made.data.counts, made.temperature) == (50, (20, 17, 13), 2.0)
    without = Manifest.of(fit_result(None), head={})
    assert without.measured_on == "folds"
    assert without.metrics["accuracy"].value == 0.9


def test_the_card_says_how_good_and_what_for() -> None:
    card = artifact.model_card(manifest())
    assert "| accuracy | 0.940 | 0.880 to 0.980 | 50 |" in card
    assert "tit \\| wren" in card
    assert "50 labelled items" in card and "13 to 20 a class" in card
    assert "temperature 2" in card and '"unsure"' in card
    assert "no other class" in card
    assert "| 95 % interval | n |" in card
    assert "| 95 % interval | folds |" in artifact.model_card(manifest(measured_on="folds"))
    bare = artifact.model_card(manifest(metrics={}, measured_on="nothing", calibration=None, abstention=None))
    assert "It was not measured" in bare


def test_a_manifest_is_plain_json() -> None:
    assert json.loads(json.dumps(to_json(manifest()), allow_nan=False))["encoder"]["reference"] == "minilm"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [f.name for f in fields(Manifest)]


@settings(max_examples=60, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=2),
    names=st.dictionaries(st.text(), st.text(), max_size=2),
)
def test_whatever_a_manifest_says_only_our_errors_come(
    model: Path, changes: dict[str, Any], names: dict[str, str]
) -> None:
    kept = (model / "graft.json").read_bytes()
    try:
        edit(model, **({"files": {**json.loads(kept)["files"], **names}} | changes))
        with contextlib.suppress(GraftError):
            assert artifact.load(model).arrays.keys() == {"weight", "bias"}
    finally:
        (model / "graft.json").write_bytes(kept)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("fuzzed") / "model")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: Any) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(artifact, "write_json", full)
    with pytest.raises(StorageError, match="disk is full"):
        saved(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
