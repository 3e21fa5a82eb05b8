"""What tests of every folder share."""

from pathlib import Path

import pytest

CONFORMANCE = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder of public conformance data. A user's clone has none: such tests are skipped there."""
    if not CONFORMANCE.is_dir():
        pytest.skip("the conformance data is not beside this checkout")
    return CONFORMANCE
