"""What a manifest may say."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headwater.contract.errors import BadInput
from headwater.contract.manifest import MAX_TOLERANCE, decode_manifest
from tests.edge_agent.scorer.models import make


@pytest.mark.parametrize("tolerance", [1.0, MAX_TOLERANCE * 1.01, -1e-9, 1e300])
def test_golden_vectors_prove_something(tolerance: float) -> None:
    """A tolerance that any model meets is refused, on its way in and out."""
    _, manifest = make(1)
    wide = replace(manifest, golden=replace(manifest.golden, tolerance=tolerance))
    with pytest.raises(BadInput, match="golden tolerance"):
        decode_manifest(wide.encode())
    exact = replace(manifest, golden=replace(manifest.golden, tolerance=MAX_TOLERANCE))
    assert decode_manifest(exact.encode()).golden.tolerance == MAX_TOLERANCE


def test_certificates_count_over_enough_windows_and_without_a_flip() -> None:
    """Of three windows, of one too few, with an alarm flip, of another model: none of them certifies a runtime."""
    _, manifest = make(1)
    good = manifest.certificates[0]
    assert manifest.certified() == (good.runtime,)
    for other in ({"windows": 3}, {"windows": 9_999}, {"flips": 1}, {"flips": -1}, {"model_sha256": "0" * 64}):
        assert replace(manifest, certificates=(replace(good, **other),)).certified() == ()
