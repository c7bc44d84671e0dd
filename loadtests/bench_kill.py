"""`lasttouch bench kill`: rounds of traffic and `kill -9`; then whether every promise was kept.

It starts a `lasttouch serve` of its own, on free ports and a temporary data folder. In each round people follow links,
sign up and pay while processes are killed in one of the ways of breakages.py; after each, everything accepted must be
attributed and add up. Every few rounds, and at the end, the server is audited, stopped and read: each click that was
answered `counted` and each fact that was answered 2xx must be stored exactly once, and the ledger must be what the
rules give. On a failure the folder is left behind and the seed is told, with which the same is tried again.
"""

from __future__ import annotations

import http.client
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from redis import Redis
from redis.exceptions import RedisError

from loadtests.breakages import BREAKAGES, Chance
from loadtests.kept_promises import Broken, broken_promises
from loadtests.kill_traffic import KNOWN_PARTNERS, JoinedPartner, KillTraffic
from loadtests.own_server import Server, ServerBroke
from loadtests.promises import Promises
from loadtests.stored import read_stored
from tracker import redis_keys, redis_server
from tracker.errors import LasttouchError, SettingError
from tracker.program import Program
from tracker.settings import Settings

CHECK_EVERY = 5  # rounds; fewer kills than would end a run (supervisor.MOST_RESTARTS)
ATTRIBUTED_WITHIN_SECONDS = 60.0
SHOWN = 50  # things that differ; all are counted
PARTS = ("stored", "duplicates", "quarantined", "pending", "spooled")


class PromisesBroken(LasttouchError):
    """Something that was promised was not kept. The message is the table that the caller of the command reads."""


class KillBench:
    """One run of the rounds. `tell` takes a line of progress."""

    def __init__(self, server: Server, seed: int, seconds: float, tell: Callable[[str], None]) -> None:
        self._server = server
        self._seed = seed
        self._seconds = seconds
        self._tell = tell
        self._promises = Promises()
        self._partners: deque[JoinedPartner] = deque(maxlen=KNOWN_PARTNERS)
        self._breakages = _in_turn(random.Random(seed))
        self._broke: Counter[str] = Counter()
        self._clicks_stored = 0
        self.rounds = 0

    def run(self, rounds: int) -> dict[str, Any]:
        """The summary of that many rounds. Raises PromisesBroken and ServerBroke."""
        began_s = time.monotonic()
        self._server.start()
        while self.rounds < rounds:
            self._round()
            if self.rounds % CHECK_EVERY == 0 or self.rounds == rounds:
                self._check(is_last=self.rounds == rounds)
        return {
            "seed": self._seed,
            "rounds": self.rounds,
            "workers": self._server.workers,
            "seconds": round(time.monotonic() - began_s, 1),
            **self._promises.counts(),
            "clicks_stored": self._clicks_stored,
            "breakages": dict(self._broke),
            "answers": dict(sorted(self._promises.answers.items())),
        }

    def _round(self) -> None:
        self.rounds += 1
        breakage = next(self._breakages)
        seed = f"{self._seed} {self.rounds}"
        told: list[str] = []

        def break_it() -> None:
            told.append(breakage(self._server, random.Random(f"{seed} breakage")))
            self._server.wait_until_ready()

        before = self._promises.counts()
        key = f"{self._seed}.{self.rounds}"
        KillTraffic(self._server, key, seed, self._promises, self._partners).run(self._seconds, break_it)
        self._broke[breakage.__name__] += 1
        ended_s = time.monotonic()
        self._wait_until_settled()
        waited_s = time.monotonic() - ended_s
        after = self._promises.counts()
        clicks, facts = (after[name] - before[name] for name in ("clicks_promised", "facts_promised"))
        self._tell(
            f"round {self.rounds}: {told[0]}; {clicks} clicks counted, {facts} facts accepted, "
            f"all attributed after {waited_s:.1f} s"
        )

    def _wait_until_settled(self) -> dict[str, Any]:
        """Wait until all that was accepted is attributed and the journal is empty. The pipeline then.

        Raises ServerBroke with what keeps it from that, and PromisesBroken where the pipeline does not add up.
        """
        deadline_s = time.monotonic() + ATTRIBUTED_WITHIN_SECONDS
        while True:
            try:
                pipeline, waiting = self._server.pipeline(), _waiting_entries(self._server)
                if pipeline["attributed"] and not waiting:
                    break
                why = f"{pipeline}, and {waiting} entries in the journal"
            except (ServerBroke, OSError, http.client.HTTPException, RedisError) as error:
                why = str(error)
            if time.monotonic() > deadline_s:
                limit = f"{ATTRIBUTED_WITHIN_SECONDS:.0f} seconds after round {self.rounds}"
                raise ServerBroke(f"not everything is attributed {limit}: {why}\n{self._server.log_tail()}")
            time.sleep(0.05)
        if pipeline["accepted"] != sum(pipeline[part] for part in PARTS) or pipeline["quarantined"]:
            raise PromisesBroken(f"the pipeline does not add up after round {self.rounds}: {pipeline}")
        return pipeline

    def _check(self, is_last: bool) -> None:
        """Audit, stop, read and compare; then go on, unless it was the last time."""
        self._audit()
        pipeline = self._wait_until_settled()
        if is_last or self.rounds // CHECK_EVERY % 2:
            if (code := self._server.stop()) != 0:
                raise ServerBroke(f"serve stopped with {code}\n{self._server.log_tail()}")
        else:
            self._server.kill_all()
        stored = read_stored(self._server)
        self._clicks_stored = len(stored.clicks)
        broken = broken_promises(self._promises, stored)
        if pipeline["stored"] != stored.rows:
            broken.append(Broken("a count is wrong", "stored", str(stored.rows), str(pipeline["stored"])))
        if broken:
            raise PromisesBroken(_table(broken))
        self._tell(f"rounds 1 to {self.rounds}: every promise was kept, and the audit is clean")
        if is_last:
            self._audit()
        else:
            self._server.start()

    def _audit(self) -> None:
        audit = self._server.run("audit")
        if audit.returncode != 0:
            raise PromisesBroken(f"`lasttouch audit` after round {self.rounds}:\n{audit.stdout}{audit.stderr}")


def bench_kill(rounds: int, seconds: float, seed: int | None, workers: int) -> dict[str, Any]:
    """Run the rounds; what is printed as JSON. Raises PromisesBroken and ServerBroke with what was found.

    Raises SettingError where it can't run: it finds processes as Linux shows them.
    """
    if not Path("/proc/self/stat").exists():
        raise SettingError("bench kill finds the processes that it kills in /proc, which only Linux has")
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="lasttouch-kill-"))
    _tell(f"seed {seed}, data in {folder}")
    server = Server(folder / "data", workers)
    with _ending(server):
        bench = KillBench(server, seed, seconds, _tell)
        try:
            summary = bench.run(rounds)
        except (PromisesBroken, ServerBroke) as error:
            flags = f"--seed {seed} --rounds {bench.rounds} --seconds {seconds:g} --workers {workers}"
            again = f"lasttouch bench kill {flags}"
            raise type(error)(f"{error}\n\nAll of it is in {folder}. To try again: {again}") from error
    shutil.rmtree(folder)
    return summary


@contextmanager
def _ending(server: Server) -> Iterator[None]:
    """Leaves no process behind, whatever happens; `kill` and `timeout` end it like Ctrl-C."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if server.process is not None and server.process.poll() is None:
            server.kill_all()


def _in_turn(chance: Chance) -> Iterator[Callable[[Server, Chance], str]]:
    """Every way to break it as often as every other, in an order that chance shuffles anew each time."""
    while True:
        yield from chance.sample(BREAKAGES, len(BREAKAGES))


def _waiting_entries(server: Server) -> int:
    """Entries in all streams of the journal, clients' personal data included, which no count shows."""
    streams = [redis_keys.click_journal(shard) for shard in range(redis_keys.SHARDS)]
    streams += [redis_keys.FACT_JOURNAL, *map(redis_keys.client_journal, Program().data_centers)]
    with Redis(unix_socket_path=str(redis_server.redis_socket(Settings(data=server.data)))) as client:
        return sum(int(client.xlen(stream)) for stream in streams)


def _table(broken: list[Broken]) -> str:
    lines = [f"{len(broken)} things are not as promised:"]
    lines += [f"  {times:>6} {what}" for what, times in Counter(one.what for one in broken).most_common()]
    lines.append("")
    for one in broken[:SHOWN]:
        lines.append(f"  {one.what}: {one.subject}")
        lines += [f"      {name} {text}" for name, text in list(asdict(one).items())[2:] if text]
    if len(broken) > SHOWN:
        lines.append(f"  … and {len(broken) - SHOWN} more")
    return "\n".join(lines)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
