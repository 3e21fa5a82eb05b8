"""What an image is called."""

import pytest

from pilotfish.config.images import Reference
from pilotfish.config.values import Quantity

DIGEST = f"sha256:{'0a' * 32}"
NAMES = [
    ("nginx", "docker.io/library/nginx:latest", "localhost/nginx:latest"),
    ("nginx:1.27", "docker.io/library/nginx:1.27", "localhost/nginx:1.27"),
    ("istio/reviews-v1:1", "docker.io/istio/reviews-v1:1", "localhost/istio/reviews-v1:1"),
    ("docker.io/nginx", "docker.io/library/nginx:latest", "docker.io/library/nginx:latest"),
    ("index.docker.io/a/b:1", "docker.io/a/b:1", "docker.io/a/b:1"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
    (f"gcr.io/a/b:1@{DIGEST}", f"gcr.io/a/b@{DIGEST}", f"gcr.io/a/b@{DIGEST}"),
    (f"b@{DIGEST}", f"docker.io/library/b@{DIGEST}", f"localhost/b@{DIGEST}"),
    ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"),
]


@pytest.mark.parametrize(("written", "full", "local"), NAMES)
def test_names(written: str, full: str, local: str) -> None:
    reference = Reference.parse(written)
    assert (reference.full, reference.local[0]) == (full, local)


WRONG = [
    "", "Nginx", "a//b", "/a", "a:", "a:b:c", "a@sha256:1", "-a", "a b", "ex ample.com/a", "a\n", "x" * 600,
    "a.b" + "-" * 400 + "!/x",
]  # fmt: skip


@pytest.mark.parametrize("written", WRONG)
def test_what_is_no_name(written: str) -> None:
    with pytest.raises(ValueError, match="no name of an image"):
        Reference.parse(written)


QUANTITIES = [
    ("500m", 0.5),
    ("0.5", 0.5),
    ("2", 2),
    ("128Mi", 128 << 20),
    ("1.5Gi", 3 << 29),
    ("1e3", 1000),
    ("1E", 1e18),
]


@pytest.mark.parametrize(("written", "amount"), QUANTITIES)
def test_quantities(written: str, amount: float) -> None:
    assert Quantity.parse(written).amount == amount


@pytest.mark.parametrize("written", ["", "-1", "1 Mi", "Mi", "1mi", "1e999", "9" * 100])
def test_what_is_no_quantity(written: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        Quantity.parse(written)
