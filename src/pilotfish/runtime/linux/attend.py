"""A process that stands for one in another PID namespace: whoever called it has its signals heard, and its end."""

from __future__ import annotations

import os
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_SETMASK,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGSTOP,
    SIGTERM,
    SIGTSTP,
    SIGUSR1,
    SIGUSR2,
    pthread_sigmask,
    sigwaitinfo,
)

_PASSED_ON = (SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP)


def fork_attended() -> None:
    """Returns in the child. The process itself never does: it ends when the child does, with its exit code."""
    before = pthread_sigmask(SIG_BLOCK, {*_PASSED_ON, SIGCHLD})
    child = os.fork()
    if child == 0:
        pthread_sigmask(SIG_SETMASK, before)
        return
    # Or whoever reads what the child says would wait for us, too.
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    while True:
        heard = sigwaitinfo({*_PASSED_ON, SIGCHLD})
        if heard.si_signo == SIGCHLD:
            _follow(child)
        elif heard.si_code <= 0:  # SI_USER and its kind; a terminal's signals reach the child, of our group, without us
            os.kill(child, heard.si_signo)


def _follow(child: int) -> None:
    pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
    if pid == 0:
        return
    if os.WIFSTOPPED(status):
        os.kill(os.getpid(), SIGSTOP)  # so that a shell gets its terminal back; on we go after `fg`
        os.kill(child, SIGCONT)
        return
    code = os.waitstatus_to_exitcode(status)
    os._exit(128 - code if code < 0 else code)
