import pytest

from pilotfish.agent.podinfo import parse_podinfo


def test_keys_and_quoted_values() -> None:
    text = 'app="webapp"\napp.kubernetes.io/name="web=app"\nnote="two\\nlines, \\"quoted\\" \\x00 \\u00e9 \\\\"'
    expected = {"app": "webapp", "app.kubernetes.io/name": "web=app", "note": 'two\nlines, "quoted" \0 é \\'}
    assert parse_podinfo(text) == expected


def test_a_pod_without_any() -> None:
    assert parse_podinfo("") == {}


@pytest.mark.parametrize("line", ["app", "app=webapp", '="webapp"', 'app="webapp', 'app="a" "b'])
def test_another_line_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_podinfo(f'a="b"\n{line}\n')
