"""Refusals of a contract.json that is no contract, or lacks a key."""

from __future__ import annotations

import pytest

from edgernn.contract import Contract
from tests.contract.test_contract import CONTRACT, refused


@pytest.mark.parametrize("data", [None, [], "x", {}, {"contract": None}])
def test_json_that_is_no_contract_is_refused(data):
    """Other JSON is refused because the version is missing."""
    assert refused(Contract.from_json, data) == (
        "The artifact carries no edgernn contract. Export the model with `edgernn export`."
    )


@pytest.mark.parametrize(
    "key",
    ["family", "source", "states", "carry", "graphs", "vocabulary", "summary", "notes"],
)
def test_json_without_a_key_is_refused(key):
    """Each key of contract.json must be there."""
    table = CONTRACT.to_json()
    del table[key]
    assert refused(Contract.from_json, table) == (
        f"The artifact has a contract that cannot be read: `{key}` is missing. Export the model "
        "again."
    )
