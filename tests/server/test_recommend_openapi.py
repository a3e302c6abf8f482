"""Schemathesis on the recommenders' own description: what fits it is answered as it says, what does not is refused as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from tests.server.test_recommend import ROOT, serving, write

TAILS = ("/recommend", "/similar", "/titles", "/items/{id}", "")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description, with the name of a recommender that is there: random names would test 404 alone."""
    schemathesis = pytest.importorskip("schemathesis")
    with serving(write(tmp_path_factory.mktemp("served") / "films")) as (url, _):
        tree = httpx.get(f"{url}/openapi.json").json()
        for operations in tree["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    if parameter["name"] == "name":
                        parameter["schema"] = {"enum": ["films"]}
        yield schemathesis.openapi.from_dict(tree), url


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_it_does_what_it_says(schema: Any, tail: str, mode: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    described, url = schema
    path = ROOT.replace("films", "{name}") + tail
    (operation,) = [found.ok() for found in described.get_all_operations() if found.ok().path == path]
    strategy = operation.as_strategy(generation_mode=GenerationMode(mode))

    @given(case=strategy)
    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        # a schema cannot say which titles there are, nor what a filter is: what fits it may still be refused
        case.call_and_validate(base_url=url, timeout=15, excluded_checks=[positive_data_acceptance])

    try:
        check()
    except Unsatisfiable:
        pytest.skip("there is nothing that could be wrong with such a request")
