"""`up` in the foreground: the whole life of one mesh in this process."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from typing import Any

from pilotfish.runtime.agent import AgentError
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.garbage import look_seldom
from pilotfish.runtime.node.claim import Claim, remove_directory, sweep_dead
from pilotfish.runtime.node.ending import Ending, Stopped
from pilotfish.runtime.node.node import running
from pilotfish.runtime.node.options import CannotStart, OnProgress, UpOptions
from pilotfish.runtime.node.preflight import check_machine, raise_file_limit
from pilotfish.runtime.node.progress import Progress

_log = logging.getLogger(__name__)


def run(options: UpOptions, on_progress: OnProgress, stdin: str | None = None) -> int:
    """Until SIGINT, SIGTERM or `down`; 0 then. CannotStart if it can't begin, with nothing left behind.

    `stdin` is the text of the source `-`; read here if it is None. `on_progress` is called in this thread.
    """
    check_machine()
    raise_file_limit()
    look_seldom()
    return asyncio.run(_run(options, on_progress, stdin))


async def _run(options: UpOptions, on_progress: OnProgress, stdin: str | None) -> int:
    progress = Progress(on_progress)
    dead = await sweep_dead(options.state_root)
    # Its directory may be gone, while its network is not.
    for mesh, lines in (dead | await sweep_dead(options.state_root, options.name)).items():
        progress.say(f'mesh "{mesh}" was dead; removed: {", ".join(lines)}', "warning")
    claim = Claim(options.directory)
    claim.take()
    handler = _log_to_file(options)
    try:
        return await _live(options, progress, stdin)
    except (MachineError, AgentError) as error:
        raise CannotStart(str(error)) from error
    finally:
        logging.getLogger("pilotfish").removeHandler(handler)
        handler.close()
        remove_directory(options.directory)
        claim.release()


async def _live(options: UpOptions, progress: Progress, stdin: str | None) -> int:
    """From the start to the end, whichever part of it a signal comes in."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_failure)
    ending = Ending(progress)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ending.ask, number.name)
    with suppress(Stopped):
        async with running(options, progress, ending, stdin):
            await ending.wait()
    return 0


def _log_failure(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A bug of ours in a callback: the rest of the mesh goes on."""
    _log.error("%s", context.get("message"), exc_info=context.get("exception"))


def _log_to_file(options: UpOptions) -> logging.Handler:
    """node.log: progress, and what went wrong inside."""
    handler = logging.FileHandler(options.directory / "node.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("pilotfish")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    return handler
