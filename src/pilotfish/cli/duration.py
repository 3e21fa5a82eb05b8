"""`30s`, `1m30s` or plain seconds on the command line."""

from __future__ import annotations

import click

from pilotfish.model import Duration


def parse_duration(value: object) -> float:
    """Seconds. Raises click.BadParameter for text that is no span of time."""
    text = str(value)
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else Duration.parse(text).seconds
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if seconds < 0:
        raise click.BadParameter(f"{text} is less than nothing")
    return seconds
