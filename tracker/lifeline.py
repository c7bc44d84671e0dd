"""A child ends when its supervisor does, even when the supervisor was killed and could not tell it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(supervisor_pid: int) -> None:
    """Have this process killed when process `supervisor_pid`, its parent, ends.

    Linux does it, also for a program that this process then becomes (exec). Elsewhere a thread watches.
    SIGKILL is right here: what was accepted is durable, and a child that lingers would hold the data folder.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    else:
        threading.Thread(target=_watch, args=(supervisor_pid,), daemon=True).start()
    if os.getppid() != supervisor_pid:  # it ended before we could ask
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(supervisor_pid: int) -> None:
    while os.getppid() == supervisor_pid:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
