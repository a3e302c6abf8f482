"""Schemathesis against the service's own description: whatever fits it is answered as it says, whatever does not is refused as it says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

OPERATIONS = 20
EXAMPLES = 5


@pytest.fixture(scope="module")
def schema(url: str) -> Any:
    """The description, with the names of an index that is there and of a model that is not: random names would test 404 alone."""
    schemathesis = pytest.importorskip("schemathesis")
    tree = httpx.get(f"{url}/openapi.json").json()
    for path, operations in tree["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "name":
                    parameter["schema"] = {"enum": ["pictures" if "upload" in path else "texts"]}
    return schemathesis.openapi.from_dict(tree), url


@pytest.mark.parametrize("number", range(OPERATIONS))
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_it_does_what_it_says(schema: Any, number: int, mode: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    described, url = schema
    operation = [found.ok() for found in described.get_all_operations()][number]
    strategy = operation.as_strategy(generation_mode=GenerationMode(mode))

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        # a schema cannot say how long a vector is, nor what is a picture: what fits it may still be refused
        case.call_and_validate(base_url=url, timeout=15, excluded_checks=[positive_data_acceptance])

    try:
        check()
    except Unsatisfiable:
        pytest.skip("there is nothing that could be wrong with such a request")


def test_all_is_described(schema: Any) -> None:
    described, _ = schema
    assert len([*described.get_all_operations()]) == OPERATIONS
    paths = described.raw_schema["paths"]
    assert "/v1/indexes/{name}/vectors" in paths
    for operations in paths.values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            assert {"400", "404", "503"} <= set(operation["responses"])
