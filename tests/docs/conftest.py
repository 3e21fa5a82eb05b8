"""One flag rewrites what the documents take from the code: `pytest tests/docs --update-docs`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-docs", action="store_true", help="rewrite the fields in docs/manifests.md")
