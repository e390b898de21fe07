"""The small size of the fleet's proof (docs/proofs.md)."""

from __future__ import annotations

import pytest

from tests.proofs.fleet import Sizes, prove


@pytest.mark.parametrize("sizes", [Sizes(redfish=200, ipmi=100), Sizes(redfish=40, ipmi=20, tls=True)])
def test_a_fleet_counts_right_under_every_fault(sizes: Sizes) -> None:
    prove(sizes, seed=20261121)
