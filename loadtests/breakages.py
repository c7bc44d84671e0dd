"""The ways in which a round breaks a server: `kill -9` of its processes, at moments that chance chooses.

Each takes a running server, has it running (or coming up) again when it returns, and says what it did. Children are
started again by their supervisor; where that one is killed, its children must end with it, and it is started again.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from loadtests.own_server import Server, ServerBroke, poll

GONE_WITHIN_SECONDS = 10.0  # the children of a killed supervisor
BACK_WITHIN_SECONDS = 30.0  # a killed child
SERVE = "serve"
# What the command line of each process has. A Redis that is about to start is one too.
NAMES = (
    (re.compile(r"\bserve --data\b"), SERVE),
    (re.compile(r"redis-server|valkey-server|lasttouch\.py redis\b"), "redis"),
    (re.compile(r"lasttouch\.py tracker --worker (\d+)"), "tracker-{}"),
    (re.compile(r"lasttouch\.py reports --with-attribution\b"), "app"),
)
Chance = random.Random


def some_die(server: Server, chance: Chance) -> str:
    """A random set of children dies, at once or one shortly after the other."""
    victims = _some(chance, _children(server))
    pause_s = chance.choice((0.0, chance.uniform(0.0, 0.3)))
    for pid in victims.values():
        _signal(signal.SIGKILL, [pid])
        time.sleep(pause_s)
    return f"killed {_listed(victims)}" + (f", {pause_s:.2f} s apart" if pause_s and len(victims) > 1 else "")


def they_die_again(server: Server, chance: Chance) -> str:
    """A random set of children dies, and their successors die while they start, or just after."""
    victims = _some(chance, _children(server))
    _signal(signal.SIGKILL, victims.values())
    after_s = chance.uniform(0.0, 1.5)
    for name, pid in victims.items():
        successor = _successor(server, name, pid)
        time.sleep(after_s)
        _signal(signal.SIGKILL, [successor])
    return f"killed {_listed(victims)}, and again {after_s:.2f} s after each was started again"


def some_are_paused(server: Server, chance: Chance) -> str:
    """A random set of processes, the supervisor too, stands still for a while; then goes on, or dies in that state."""
    paused = _some(chance, _processes(server))
    doomed = {name: pid for name, pid in paused.items() if name != SERVE and chance.random() < 0.3}
    pause_s = chance.uniform(0.3, 2.5)
    _signal(signal.SIGSTOP, paused.values())
    try:
        time.sleep(pause_s)
        _signal(signal.SIGKILL, doomed.values())
    finally:
        _signal(signal.SIGCONT, paused.values())
    return f"paused {_listed(paused)} for {pause_s:.2f} s" + (f" and killed {_listed(doomed)}" if doomed else "")


def redis_stays_away(server: Server, chance: Chance) -> str:
    """Redis dies and its successor stands still for seconds: workers die while they spool, and while they deliver."""
    redis = _children(server)["redis"]
    _signal(signal.SIGKILL, [redis])
    successor = _successor(server, "redis", redis)
    _signal(signal.SIGSTOP, [successor])
    try:
        time.sleep(chance.uniform(0.5, 2.0))
        spooling = _some(chance, _named("tracker", _children(server)))
        _signal(signal.SIGKILL, spooling.values())
        time.sleep(chance.uniform(0.1, 1.5))
    finally:
        _signal(signal.SIGCONT, [successor])
    after_s = chance.uniform(0.0, 1.5)
    time.sleep(after_s)
    delivering = _some(chance, _named("tracker", _children(server)))
    _signal(signal.SIGKILL, delivering.values())
    return f"kept Redis away, killed {_listed(spooling)} meanwhile and {_listed(delivering)} {after_s:.2f} s later"


def the_supervisor_dies(server: Server, chance: Chance) -> str:
    """`serve` dies. Its children end by themselves, and a new start is not held up by anything they left."""
    before = server.processes()
    server.kill_supervisor()
    try:
        poll("the children are gone", GONE_WITHIN_SECONDS, lambda: not any(_is_alive(pid) for pid in before))
    except TimeoutError:
        left = [command for pid, command in before.items() if _is_alive(pid)]
        raise ServerBroke(f"the supervisor was killed and left children behind: {left}") from None
    server.start()
    return "killed the supervisor"


def everything_dies(server: Server, chance: Chance) -> str:
    """All processes die at one moment."""
    server.kill_all()
    server.start()
    return "killed everything"


def everything_dies_while_starting(server: Server, chance: Chance) -> str:
    """All processes die, and all die again while they start, once or twice."""
    server.kill_all()
    moments = [chance.uniform(0.0, 3.0) for _ in range(chance.randint(1, 2))]
    for after_s in moments:
        server.launch()
        time.sleep(after_s)
        server.kill_all()
    server.start()
    return "killed everything, and again " + " and ".join(f"{after_s:.2f} s" for after_s in moments) + " into the start"


def everything_dies_while_stopping(server: Server, chance: Chance) -> str:
    """An operator stops the server, and all that is left of it dies before it has stopped."""
    after_s = chance.uniform(0.0, 1.0)
    _signal(signal.SIGTERM, [_processes(server)[SERVE]])
    time.sleep(after_s)
    server.kill_all()
    server.start()
    return f"killed everything {after_s:.2f} s after it was told to stop"


BREAKAGES: tuple[Callable[[Server, Chance], str], ...] = (
    some_die,
    redis_stays_away,
    they_die_again,
    the_supervisor_dies,
    some_are_paused,
    everything_dies,
    everything_dies_while_starting,
    everything_dies_while_stopping,
)


def _processes(server: Server) -> dict[str, int]:
    """The running processes by name: `serve`, `redis`, `tracker-1`, …, `app`."""
    found: dict[str, int] = {}
    for pid, command in sorted(server.processes().items()):
        for pattern, name in NAMES:
            if match := pattern.search(command):
                found[name.format(*match.groups())] = pid
                break
    return found


def _children(server: Server) -> dict[str, int]:
    return {name: pid for name, pid in _processes(server).items() if name != SERVE}


def _named(beginning: str, processes: dict[str, int]) -> dict[str, int]:
    return {name: pid for name, pid in processes.items() if name.startswith(beginning)}


def _some(chance: Chance, processes: dict[str, int]) -> dict[str, int]:
    """A random set of them, in random order; at least one where there is any."""
    names = sorted(processes)
    return {name: processes[name] for name in chance.sample(names, chance.randint(min(1, len(names)), len(names)))}


def _successor(server: Server, name: str, pid: int) -> int:
    """The process that takes the place of a killed one. Raises ServerBroke where none comes."""

    def comes() -> int | None:
        now = _processes(server).get(name)
        return now if now != pid else None

    try:
        return int(poll(f"{name} is started again", BACK_WITHIN_SECONDS, comes))
    except TimeoutError as error:
        raise ServerBroke(f"{error}\n{server.log_tail()}") from None


def _signal(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _listed(processes: dict[str, int]) -> str:
    return ", ".join(processes) or "nothing"
