"""The tiny pretrained models of the encoders' contract, for tests of what trains them."""

from __future__ import annotations

from tests.contracts.conftest import pictures, texts, tiny_model  # noqa: F401
