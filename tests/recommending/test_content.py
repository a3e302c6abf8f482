"""New items by content: a map from words to a model's vectors, told against chance, kept in the folder, asked by text and by picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.recommending.small_likes import saved

from graft.data.dataset import Content, ImageSource
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import MissingError, ModelError, UsageError
from graft.interactions.likes import Catalogue, Interactions
from graft.recommenders.als import ALS
from graft.recommending import artefact, content
from graft.recommending.contest import Entry, Rules
from graft.recommending.models import KINDS
from graft.recommending.opened import OpenedRecommender, open_recommender
from graft.recommending.result import Cold
from graft.results import Interval
from graft.towers.known import Known
from graft.towers.new_items import learn_map

ITEMS, PEOPLE = 120, 80
RULES = Rules("ndcg@10", 1.0, 0, Known())


def likes() -> Interactions:
    """People of even numbers like even items, the others odd ones; ten each."""
    rng = np.random.default_rng(0)
    rows = sorted((u, u % 2 + 2 * i) for u in range(PEOPLE) for i in rng.choice(ITEMS // 2, 10, replace=False).tolist())
    user_N, item_N = np.array(rows, np.int32).T
    ids = tuple(f"{i:03d}" for i in range(ITEMS))
    return Interactions(
        tuple(map(str, range(PEOPLE))), ids, user_N.copy(), item_N.copy(), np.ones(len(rows), np.float32)
    )


def told(seed: int | None) -> content.Told:
    """Content that tells even from odd items, or (with a seed) nothing."""
    side_I = 2.0 * (np.arange(ITEMS) % 2) - 1
    noise_IC = np.random.default_rng(seed or 0).standard_normal((ITEMS, 8))
    vectors = noise_IC if seed is not None else np.column_stack([3 * side_I, noise_IC[:, :3]])
    return content.Told("text", "minilm", "f" * 64, vectors.astype(np.float32))


def entry() -> Entry:
    return Entry(KINDS["als"], settings={"dims": 8})


def test_content_that_tells_taste_beats_chance_and_noise_does_not() -> None:
    rows = likes()
    found = content.new_items(entry(), None, rows, (told(None),), RULES)
    mapped, alone, chance = found
    assert mapped.way == "text" and content.helps(mapped) and content.helps(alone)
    assert mapped.metrics["hr@10"].value > chance.metrics["hr@10"].value + 0.1
    assert "helps to place it" in content.said(mapped) and "among 24 items held out" in mapped.reason
    (nothing, *_) = content.new_items(entry(), None, rows, (told(7),), RULES)
    assert not content.helps(nothing) and "no help beyond doubt" in nothing.reason
    assert "does not help to place it beyond doubt" in content.said(nothing)


def test_two_towers_are_asked_where_they_are_told_of_items() -> None:
    known = Known(categories=[("even",) if i % 2 == 0 else ("odd",) for i in range(ITEMS)])
    towers = Entry(KINDS["two-tower"], settings={"dims": 8, "epochs": 3})
    found = content.new_items(entry(), towers, likes(), (told(None),), replace(RULES, known=known))
    assert [c.what for c in found][2] == "new items: two-tower, by what it is told of items"
    assert content.helps(found[2])
    assert len(content.new_items(entry(), towers, likes(), (told(None),), RULES)) == 3


def test_what_cannot_be_measured_says_why() -> None:
    (few,) = content.new_items(entry(), None, likes(), (), RULES)
    (without,) = content.new_items(None, None, likes(), (told(None),), RULES)
    assert "fewer than 100 liked items have content" in few.reason and "no model with item vectors" in without.reason
    catalogue = Catalogue(("a film",) * 99 + ("",) * 21, ((),) * ITEMS)
    assert content.told(catalogue, likes(), None) == ()
    assert content.placing("als", ALS.fit(likes(), dims=4), (), ()) is None


def test_what_there_is_to_read() -> None:
    catalogue = Catalogue(("Alien", "", "Up"), (("Horror", "Sci-Fi"), ("War",), ()), ("In space. ", "", ""))
    assert content.described(catalogue) == ["Alien. Horror, Sci-Fi. In space.", "War", "Up"]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve films: what MiniLM makes of "sea" and "space" is mapped to their vectors, and so are pictures, blue for the sea, red for space."""
    folder = tmp_path_factory.mktemp("placed") / "model"
    folder.mkdir()
    own = saved()
    vectors_ID = ALS.fit(own.interactions, dims=4, seed=0).item_ID
    ways = {}
    for way, reference in (("text", "minilm"), ("image", "pixels:4")):
        encoder = open_encoder(reference, modality=way)
        examples: list[Content]
        if way == "text":
            examples = [["the sea, ships and sailors", "rockets in outer space"][i >= 6] for i in range(12)]
        else:
            examples = [picture(folder.parent / f"{i}.png", "blue" if i < 6 else "red") for i in range(12)]
        x_IC = encode(examples, encoder).vectors
        # 20 items are the least a map is learned from
        found = learn_map(np.concatenate([x_IC, x_IC]), np.concatenate([vectors_ID, vectors_ID]))
        helps = way == "text"
        ways[way] = content.Way(found, encoder.info.reference, encoder.info.fingerprint, f"measured by {way}", helps)
    placing = content.Placing("als", vectors_ID, ways)
    artefact.write(folder, replace(own, placing=placing), "# films")
    return folder


def picture(path: Path, colour: str) -> ImageSource:
    Image.new("RGB", (8, 8), colour).save(path)
    return ImageSource(path)


def test_a_new_item_lies_beside_what_is_described_like_it(films: Path, tmp_path: Path) -> None:
    opened = open_recommender(films)
    for text, circle in (("an old ship on the ocean", "Sea"), ("a rocket flies to another planet", "Space")):
        found = opened.similar_to_new(text=text, k=6)
        codes = [opened.interactions.items.index(r.item) for r in found.recommendations]
        assert {opened.catalogue.categories[c] for c in codes} == {(circle,)}
        assert found.asked == (text,) and found.notes == () and found.model == "als"
        assert found.recommendations[0].reason.startswith("liked by the people its text points to: liked by ")
        scores = [r.score for r in found.recommendations]
        assert scores == sorted(scores, reverse=True) and -1 <= scores[-1] <= scores[0] <= 1.0001
    by_picture = opened.similar_to_new(image=picture(tmp_path / "new.png", "navy").path, k=3)
    assert by_picture.notes == ("measured by image",)  # measured not to help: the answer says so
    only = opened.similar_to_new(text="ships", k=20, where="array_has(categories, 'Space')")
    assert len(only.recommendations) == 6 and "only 6 of the 20" in only.notes[0]


def test_what_cannot_be_asked_of_new_items(films: Path, tmp_path: Path) -> None:
    opened = open_recommender(films)
    with pytest.raises(UsageError, match="one of the two"):
        opened.similar_to_new()
    with pytest.raises(UsageError, match="one of the two"):
        opened.similar_to_new(text="a", image="b.png")
    with pytest.raises(UsageError, match="is empty"):
        opened.similar_to_new(text="  ")
    with pytest.raises(MissingError, match=r"no picture at .*gone\.png"):
        opened.similar_to_new(image=tmp_path / "gone.png")
    with pytest.raises(UsageError, match="by their likes alone"):
        OpenedRecommender(saved()).similar_to_new(text="ships")
    assert opened.placing is not None
    text_only = replace(opened.placing, ways={"text": opened.placing.ways["text"]})
    with pytest.raises(UsageError, match="by their text, not by a picture"):
        OpenedRecommender(replace(saved(), placing=text_only)).similar_to_new(image="x.png")
    other = replace(opened.placing.ways["text"], fingerprint="0" * 64)
    with pytest.raises(ModelError, match="not the one this recommender was fitted with"):
        OpenedRecommender(replace(saved(), placing=replace(opened.placing, ways={"text": other}))).similar_to_new(
            text="x"
        )


def test_the_folder_brings_it_back_and_older_ones_do_without(films: Path) -> None:
    back = artefact.read(films)
    assert back.placing is not None and set(back.placing.ways) == {"text", "image"}
    assert not any(name.startswith(content.OWN) for name in back.arrays)
    assert np.array_equal(back.placing.vectors_ID, ALS.fit(back.interactions, dims=4, seed=0).item_ID)
    assert saved().placing is None


def test_a_sentence_says_what_was_measured() -> None:
    cold = Cold(
        what="", n=50, metrics={"hr@10": Interval(0.3, 0.2, 0.4, 50)}, gain=Interval(0.1, 0.05, 0.15, 50), way="image"
    )
    assert content.said(cold) == (
        "Of 50 people 30.0 % find something they like among 10 items known by their picture alone, 20.0 % by chance: a new item's picture helps to "
        "place it."
    )
