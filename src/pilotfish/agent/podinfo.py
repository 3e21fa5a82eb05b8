"""A pod's own labels and annotations, as the kubelet writes them into a volume.

    app="webapp"
    note="two\\nlines"

Source: https://kubernetes.io/docs/tasks/inject-data-application/downward-api-volume-expose-pod-information/
"""

from __future__ import annotations

import ast


def parse_podinfo(text: str) -> dict[str, str]:
    """One `KEY=QUOTED` a line, quoted as Go does it, whose escapes Python has, too. ValueError for another line."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key, equals, quoted = line.partition("=")
        if not key or not equals or not quoted.startswith('"'):
            raise ValueError(f'line {number} is not KEY="VALUE"')
        try:
            found[key] = str(ast.literal_eval(quoted))
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"line {number}: {quoted} is no quoted text") from error
    return found
