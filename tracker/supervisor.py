"""Keeps the processes of a run alive, and ends them in the right order.

A role is started once those it needs are ready. One that dies is started again, at first at once and then
ever slower; one that keeps dying ends the run, unless visitors can do without it. The run ends on SIGTERM, SIGINT
or SIGHUP; a second one does not wait for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tracker.errors import LasttouchError

logger = logging.getLogger("lasttouch.supervisor")

MOST_RESTARTS = 10  # of one role …
RESTARTS_WITHIN_SECONDS = 60.0  # … in this time
LONGEST_PAUSE_SECONDS = 5.0  # between two starts of a role
READY_WITHIN_SECONDS = 600.0  # all vital roles together; a large Redis takes minutes to read its files
REMIND_EVERY_SECONDS = 15.0  # of what is waited for
WRONG_SETTING = 2  # exit code: starting again would not help


class RunFailed(LasttouchError):
    """The run cannot go on. The message is the line that the operator reads."""


@dataclass(frozen=True, slots=True)
class Role:
    """One process of a run.

    `command` is given the option `--ready-fd N` unless `is_ready` asks from outside. `stops` orders the end of
    the run: lower numbers are told to stop first, and the next ones only when they are gone. One that is not vital may
    keep dying, once it has been ready: the others go on.
    """

    name: str
    command: Sequence[str]
    stops: int
    stop_within_seconds: float = 20.0
    needs: Sequence[str] = ()
    pass_fds: Sequence[int] = ()
    is_ready: Callable[[], bool] | None = None
    why_it_died: Callable[[], str] | None = None
    is_vital: bool = True

    def also_passing(self, fd: int) -> Role:
        """The same role whose process inherits `fd` too."""
        return replace(self, pass_fds=(*self.pass_fds, fd))


class Supervisor:
    """Runs `roles` until the end of the run. `environ` is the children's environment."""

    def __init__(self, roles: Sequence[Role], environ: Mapping[str, str]) -> None:
        self._roles = roles
        self._environ = dict(environ)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ready = {role.name: asyncio.Event() for role in roles}
        self._stopping = False
        self._in_a_hurry = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, when_ready: Callable[[], Awaitable[None]], when_stopping: Callable[[], None]) -> None:
        """Start all roles, call `when_ready` once they are, and keep them until told to stop. Raises RunFailed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # `nohup` ignores it
                loop.add_signal_handler(number, self._on_signal, number)
        keepers = [asyncio.create_task(self._keep(role)) for role in self._roles]
        announced = asyncio.create_task(self._announce(when_ready))
        try:
            await self._ended
        finally:
            announced.cancel()
            when_stopping()
            await self._stop(keepers)

    def _on_signal(self, number: int) -> None:
        logger.info("%s: %s", signal.Signals(number).name, "ending at once" if self._stopping else "stopping")
        if self._stopping:
            self._in_a_hurry = True
            for process in self._processes.values():
                _send(process, signal.SIGKILL)
        self._end(None)

    def _end(self, failure: BaseException | None) -> None:
        if self._ended.done():
            return
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    async def _announce(self, when_ready: Callable[[], Awaitable[None]]) -> None:
        reminding = asyncio.create_task(self._remind())
        try:
            async with asyncio.timeout(READY_WITHIN_SECONDS):
                for role in self._roles:
                    if role.is_vital:
                        await self._ready[role.name].wait()
            # The others may wait for stores that are away: visitors can do without them.
            for event in self._ready.values():
                await event.wait()
            await when_ready()
        except TimeoutError:
            self._end(RunFailed(f"{self._late()} did not become ready in {READY_WITHIN_SECONDS:.0f} seconds"))
        except Exception as error:
            self._end(error)
        finally:
            reminding.cancel()

    async def _remind(self) -> None:
        """Say now and then what a start is waiting for."""
        while True:
            await asyncio.sleep(REMIND_EVERY_SECONDS)
            logger.info("still waiting for %s", self._late())

    def _late(self) -> str:
        return ", ".join(name for name, event in self._ready.items() if not event.is_set()) or "health checks"

    async def _keep(self, role: Role) -> None:
        """Start a role, again and again."""
        try:
            for need in role.needs:
                await self._ready[need].wait()
            deaths: deque[float] = deque(maxlen=MOST_RESTARTS + 1)
            while not self._stopping:
                code = await self._run_once(role)
                if self._stopping:
                    return
                deaths.append(time.monotonic())
                self._check(role, code, deaths)
                recent = sum(1 for died in deaths if deaths[-1] - died < RESTARTS_WITHIN_SECONDS)
                await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, 0.1 * 2 ** (recent - 1) - 0.1))
        except RunFailed as failure:
            self._end(failure)

    async def _run_once(self, role: Role) -> int:
        """One life of a role's process: its exit code, negative for a signal."""
        read_end, write_end = os.pipe()
        words = [] if role.is_ready else ["--ready-fd", str(write_end)]
        try:
            process = await asyncio.create_subprocess_exec(
                *role.command,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what is printed on stdout is the supervisor's alone
                env=self._environ,
                pass_fds=(*role.pass_fds, write_end),
                process_group=0,  # Ctrl-C reaches the supervisor only, which ends the others in order
            )
        except OSError as error:
            raise RunFailed(f"cannot start {role.name}: {error}") from None
        finally:
            os.close(write_end)
        self._processes[role.name] = process
        if self._stopping:  # the end of the run began while the process was being made
            _send(process, signal.SIGKILL)
        waiting = asyncio.create_task(self._await_ready(role, read_end))
        try:
            return await process.wait()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            del self._processes[role.name]

    async def _await_ready(self, role: Role, read_end: int) -> None:
        started = time.monotonic()
        try:
            if role.is_ready:
                while not await asyncio.to_thread(role.is_ready):  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.02)
            else:
                await _first_bytes(read_end)
        except LasttouchError as error:
            self._end(error)
            return
        finally:
            os.close(read_end)
        logger.info("%s is ready after %.1f s", role.name, time.monotonic() - started)
        self._ready[role.name].set()

    def _check(self, role: Role, code: int, deaths: deque[float]) -> None:
        """Log a death; raise RunFailed where another start would not help."""
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        why = f": {role.why_it_died()}" if role.why_it_died else ""
        if code == WRONG_SETTING and not self._ready[role.name].is_set():
            raise RunFailed(f"{role.name} did not start{why}")
        may_end_the_run = role.is_vital or not self._ready[role.name].is_set()
        if may_end_the_run and len(deaths) > MOST_RESTARTS and deaths[-1] - deaths[0] < RESTARTS_WITHIN_SECONDS:
            raise RunFailed(
                f"{role.name} {how}{why}; that was more than {MOST_RESTARTS} times "
                f"in {RESTARTS_WITHIN_SECONDS:.0f} seconds, so everything stops"
            )
        logger.warning("%s %s%s; starting it again", role.name, how, why)

    async def _stop(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        self._stopping = True
        for step in sorted({role.stops for role in self._roles}):
            await asyncio.gather(*(self._stop_role(role) for role in self._roles if role.stops == step))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _stop_role(self, role: Role) -> None:
        process = self._processes.get(role.name)
        if process is None:
            return
        _send(process, signal.SIGKILL if self._in_a_hurry else signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), role.stop_within_seconds)
        except TimeoutError:
            logger.error("%s did not stop in %g s and is killed", role.name, role.stop_within_seconds)
            _send(process, signal.SIGKILL)
            await process.wait()


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


async def _first_bytes(read_end: int) -> None:
    """Wait until something comes out of a pipe; for ever where it ends without a word."""
    loop = asyncio.get_running_loop()
    said: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        loop.remove_reader(read_end)
        if not said.done():
            said.set_result(os.read(read_end, 64))

    loop.add_reader(read_end, read)
    try:
        if not await said:
            await asyncio.Event().wait()
    finally:
        loop.remove_reader(read_end)
