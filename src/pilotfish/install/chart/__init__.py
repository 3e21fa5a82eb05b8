"""A Helm chart of an installation, made by building the objects of values that stand for themselves.

    stand_ins: Values whose leaves are tokens ─build_objects─▶ objects with tokens ─variants─▶ if, else
                                                                     └─emission─▶ the text of templates
    values: the struct's defaults and docstrings ─▶ values.yaml, values.schema.json

So a template says of every field what the code does with it, and nothing is written twice. Where the code asks whether
something is so, the objects are built for both answers.
"""

from pilotfish.install.chart.files import build_chart

__all__ = ["build_chart"]
