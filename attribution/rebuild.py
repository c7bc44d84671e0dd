"""Rebuilds what can be derived: Redis's working state and the derived tables, from the facts in ClickHouse."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from functools import partial

import redis

from attribution.fence import Scripts, unfenced
from attribution.journal_streams import JournalStreams
from attribution.ledger import run_round
from attribution.loads import read_loads
from attribution.missing_entries import CHANGES_KEPT
from attribution.publication import Publication
from attribution.rebuild_directory import SEEN, DirectoryRebuild
from attribution.rebuild_touches import rebuild_touches
from attribution.staging import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.program import Program

Progress = Callable[[str], None]
"""Is told each finished step in one line."""

log = logging.getLogger(__name__)


def is_directory_lost(client: redis.Redis, warehouse: Warehouse) -> bool:
    """Whether nothing says that the directory is complete, and ClickHouse knows partners. One who joins before anybody
    looks makes no difference."""
    return not client.exists(redis_keys.COMPLETE) and bool(warehouse.rows(QUERIES["rebuild_has_partners"]))


def mark_complete(client: redis.Redis, rebuilt_as: str = "", scripts: Scripts = unfenced) -> None:
    """Say that the directory lacks nothing, unless it is said: trackers then forget what they alone still knew.

    `rebuilt_as` is the word that a rebuild left in REBUILDING when it began. Raises Unavailable where that is gone:
    then Redis was emptied meanwhile, and what was put back first is lost again.
    """
    keys = [redis_keys.REBUILDING, redis_keys.COMPLETE, redis_keys.CHANGES]
    if not scripts(client, _MARK_COMPLETE)(keys=keys, args=[rebuilt_as, CHANGES_KEPT]):
        raise Unavailable("Redis lost its directory again while that was rebuilt")


def rebuild_redis(
    client: redis.Redis,
    warehouse: Warehouse,
    program: Program,
    now_ms: int,
    progress: Progress = log.info,
    scripts: Scripts = unfenced,
) -> None:
    """Put back what Redis lacks of directory, touches, first answers, money, tokens, counts and progress.

    It adds only what is missing and may run while trackers work, and again at any time. `client` must give bytes.
    Raises Unavailable when a store does not answer; what was put back stays.
    """
    directory = DirectoryRebuild(client, warehouse, scripts)
    steps: list[tuple[str, Callable[[], int]]] = [
        ("partners", directory.partners),
        ("changes of partners who have not joined", directory.early_changes),
        ("tokens", directory.tokens),
        *((f"{kind} entries", partial(directory.state, kind)) for kind in redis_keys.KEPT if kind != "token"),
        ("licenses", directory.licenses),
        ("transfers of licenses", directory.transfers),
        ("payments", directory.money),
        ("deliveries", directory.deliveries),
        *((f"{kind} ids", _seen_step(directory, kind, table, column)) for kind, table, column in SEEN),
        ("visitors' touches", lambda: rebuild_touches(client, warehouse, program.window_ms, now_ms)),
        ("accepted facts that were not counted", lambda: _counts(client, warehouse, program, scripts)),
    ]
    rebuilt_as = uuid.uuid4().hex
    try:
        scripts(client, _BEGIN)(keys=[redis_keys.REBUILDING], args=[rebuilt_as])
        for name, step in steps:
            progress(f"{name}: {step():,} put back")
        mark_complete(client, rebuilt_as, scripts)
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


def rebuild_derived(
    warehouse: Warehouse,
    program: Program,
    now_ms: int,
    progress: Progress = log.info,
    publication: Publication | None = None,
) -> None:
    """Decide bindings, recruiters and spans again from all facts; the ledger gets only lines that it lacks.

    Readers see the tables as they were until the new ones take their place. No round may run meanwhile.
    """
    warehouse.run(QUERIES["rebuild_ask"])
    done = run_round(warehouse, program, now_ms, publication=publication)
    if done is None:
        progress("no facts are loaded: nothing to rebuild")
        return
    progress(f"round {done.round}: {done.licenses:,} licenses decided, {done.lines:,} ledger lines were missing")
    for table, id_column in (("bindings", "license_id"), ("recruitments", "partner_id")):
        newest = {"rebuilt": f"rebuilt_{table}", "versions": f"{table[:-1]}_versions", "id": id_column}
        _rebuild(warehouse, table, "rebuild_fill_newest", **newest)
        progress(f"{table}: rebuilt")
    _rebuild(warehouse, "partner_bindings", "rebuild_fill_partner_bindings")
    progress("bindings of partners: rebuilt")
    warehouse.run(QUERIES["rebuild_forget_spans"], round=done.round)
    if publication:  # under another word, for what was put right may differ from what was read
        publication.ends(done.round)
    progress("spans in which partners are active: rebuilt")


def rebuild_click_days(warehouse: Warehouse, progress: Progress = log.info) -> None:
    """Count all clicks by day again. No load may run meanwhile; one that is half done is counted when it is done."""
    _rebuild(warehouse, "click_days", "rebuild_fill_click_days")
    progress("clicks by day: rebuilt")


def _rebuild(warehouse: Warehouse, table: str, fill: str, **parameters: str) -> None:
    """Fill another table like one that is read, by the statement `fill`, and put it in its place."""
    rebuilt = f"rebuilt_{table}"
    warehouse.run(QUERIES["rebuild_drop"], rebuilt=rebuilt)
    warehouse.run(QUERIES[f"rebuild_create_{table}"])
    warehouse.run(QUERIES[fill], **parameters)
    warehouse.run(QUERIES["rebuild_exchange"], rebuilt=rebuilt, table=table)
    warehouse.run(QUERIES["rebuild_drop"], rebuilt=rebuilt)


def _seen_step(directory: DirectoryRebuild, kind: str, table: str, id_column: str) -> Callable[[], int]:
    return lambda: directory.seen(kind, table, id_column)


def _counts(client: redis.Redis, warehouse: Warehouse, program: Program, scripts: Scripts) -> int:
    """Count as accepted what is loaded or waits, and publish how far loading and attribution have come."""
    loads = read_loads(warehouse)
    streams = JournalStreams(client, program.data_centers, scripts)
    corrected, waits_no_more = 0, {}
    for stream in streams.counters:
        loaded = loads.sums.loaded(stream)
        accepted, found = streams.settle(stream, loaded)
        corrected += max(0, found - accepted)
        waits_no_more[stream] = loaded + max(0, accepted - found)
    streams.settle_clicks()
    streams.publish(loads.sums.totals(), waits_no_more)
    covered = warehouse.rows(QUERIES["service_covered"])[0]["facts"]
    scripts(client, _TELL_ATTRIBUTED)(keys=[redis_keys.PROGRESS], args=[str(covered)])
    return corrected


# KEYS: the word of the rebuild under way. ARGV: a new one.
_BEGIN = "redis.call('SET', KEYS[1], ARGV[1])"

# KEYS: the hash of progress. ARGV: how many accepted facts are in the results, where nothing says it.
_TELL_ATTRIBUTED = "redis.call('HSETNX', KEYS[1], 'attributed', ARGV[1])"

# KEYS: the word of the rebuild under way, the mark, the stream of changes. ARGV: the word that must be there, or
# nothing; how many changes are kept. Answers 0 when the word is another.
_MARK_COMPLETE = """
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if redis.call('SET', KEYS[2], '1', 'NX') then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'kind', 'all', 'key', '')
end
return 1
"""
