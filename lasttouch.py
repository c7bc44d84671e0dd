"""The command line: wires the rooms into processes, and nothing else. `lasttouch --help` lists the commands."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from loadtests.bench_command import BENCH_FLAGS, bench
from tracker.errors import LasttouchError, SettingError
from tracker.flags import DATA, WORKERS, Flag, Options
from tracker.settings import VARIABLES, Settings, read_settings

# ── Commands ──────────────────────────────────────────────────────────────────────────────────────


def serve(options: Options) -> int:
    """everything on one machine; Redis and ClickHouse are embedded unless their URLs are set"""
    from tracker.run import Example, Wishes
    from tracker.run import serve as serve_everything

    settings = read_settings(data=options.data)
    example = None
    if options.demo:
        from loadtests.example_program import claim, write_program

        example = Example(partial(write_program, settings.data), partial(claim, settings.data))
    wishes = Wishes(options.host, options.tracker_port, options.app_port, options.workers, options.site_port)
    return serve_everything(settings, os.environ, wishes, example, _admin_sign_in_link)


def tracker(options: Options) -> int:
    """the tracker alone: redirects and the Conversions API"""
    if options.listen_fd is None:
        return _supervise("tracker", options)
    from tracker.app import create_app
    from tracker.fast_protocol import FastProtocol
    from tracker.program import load_program

    settings = _settings(options)
    app = create_app(settings, load_program(settings.program_path), options.worker)
    return _serve_child(options, app, FastProtocol)


def attribution(options: Options) -> int:
    """attribution alone: loader, bindings, ledger; of several one is at work"""
    if options.listen_fd is None:
        return _supervise("attribution", options)
    from attribution.process import attribution_app

    return _serve_child(options, attribution_app(_settings(options)))


def reports(options: Options) -> int:
    """the app alone: pages, Partner API, reports, admin"""
    if options.listen_fd is None:
        return _supervise("reports", options)
    from reports.process import reports_app

    return _serve_child(options, reports_app(_settings(options), options.with_attribution))


def import_(options: Options) -> int:
    """load events from a file of NDJSON into the running tracker"""
    from tracker.import_command import import_command

    return import_command(read_settings(data=options.data), os.environ, options.file, options.rejects)


def audit(options: Options) -> int:
    """recompute every ledger line from the raw facts and compare to the cent; and what else must agree"""
    from reports.audit_command import audit_command

    return audit_command(read_settings(data=options.data), options.replay)


def rebuild(options: Options) -> int:
    """rebuild derived tables, and Redis's directory and touches, from the event history"""
    from reports.maintenance import rebuild_command

    return rebuild_command(read_settings(data=options.data))


def linker(options: Options) -> int:
    """print the tag that puts linker.js into the sites' pages, pinned by its hash"""
    from tracker.linker import Linker
    from tracker.program import load_program

    settings = read_settings(data=options.data)
    print(Linker.of(load_program(settings.program_path)).tag(settings.tracker_url))
    return 0


def whatif(options: Options) -> int:
    """what the ledger would be under other rules over the same history; changes nothing"""
    from reports.whatif_command import whatif_command

    allows = "" if options.allow_self_referral is None else str(options.allow_self_referral).lower()
    given = {
        "window_days": options.window_days,
        "first_tier_percent": options.first_tier,
        "second_tier_percent": options.second_tier,
        "allow_self_referral": allows,
        "model": options.model,
    }
    return whatif_command(read_settings(data=options.data), given, options.format)


def quarantine(options: Options) -> int:
    """list what could not be understood, with the reason, or put it back"""
    from reports.maintenance import quarantine_command

    return quarantine_command(read_settings(data=options.data), options.replay or [])


def redis(options: Options) -> int:
    """become the embedded redis-server"""
    from tracker import lifeline, redis_server

    command = redis_server.prepare(read_settings(data=options.data))
    lifeline.end_with(options.supervisor)
    os.execv(command[0], command)


def example(options: Options) -> int:
    """fill in the example program, then be its visitors"""
    from loadtests.example_traffic import run_example

    _begin_child(options)
    return run_example(_settings(options), options.tracker_url, options.sites_url, options.ready_fd)


def sites(options: Options) -> int:
    """serve the example sites"""
    from reports.example_sites.process import example_sites

    return _serve_child(options, example_sites(_settings(options), options.tracker_url, time.time_ns() // 1_000_000))


# ── Flags ─────────────────────────────────────────────────────────────────────────────────────────


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give 0 to 65535, 0 for a free one")
    return int(text)


HIDDEN = argparse.SUPPRESS
HOST = Flag("--host", {"metavar": "H", "default": "127.0.0.1", "help": "address to listen on (default 127.0.0.1)"})
TRACKER_PORT = Flag(
    "--tracker-port", {"metavar": "P", "type": _port, "default": 8000, "help": "the tracker's port (default 8000)"}
)
APP_PORT = Flag("--app-port", {"metavar": "P", "type": _port, "default": 8001, "help": "the app's port (default 8001)"})
SITE_PORT = Flag(
    "--site-port",
    {
        "metavar": "P",
        "type": _port,
        "help": "the example sites' port, with --demo (default 8002, or a free one where that is taken)",
    },
)
DEMO = Flag(
    "--demo", {"action": "store_true", "help": "fill an empty data folder with an example program and live visitors"}
)
FILE = Flag("file", {"metavar": "FILE", "help": "NDJSON, one event a line; `-` is standard input"})
REJECTS = Flag("--rejects", {"metavar": "FILE", "help": "write every rejected line's number and reasons to FILE"})
AUDIT_REPLAY = Flag(
    "--replay",
    {"action": "store_true", "help": "also build everything derived anew in a scratch database, and compare"},
)
WINDOW_DAYS = Flag("--window-days", {"metavar": "N", "default": "", "help": "days from a click to a signup"})
FIRST_TIER = Flag("--first-tier", {"metavar": "PERCENT", "default": "", "help": "percent of every payment"})
SECOND_TIER = Flag("--second-tier", {"metavar": "PERCENT", "default": "", "help": "percent for the recruiter"})
MODEL = Flag("--model", {"choices": ["last", "first"], "default": "", "help": "which click in the window wins"})
SELF_REFERRAL = Flag(
    "--allow-self-referral", {"action": argparse.BooleanOptionalAction, "help": "whether a self-referral earns"}
)
FORMAT = Flag("--format", {"choices": ["table", "json", "csv"], "default": "table", "help": "of what is printed"})
REPLAY = Flag("--replay", {"metavar": "ID", "nargs": "+", "help": "put these pieces back; `all` for all of them"})
# How a supervisor starts its children; see tracker/supervisor.py.
CHILD = (
    Flag("--listen-fd", {"type": int, "help": HIDDEN}),
    Flag("--ready-fd", {"type": int, "help": HIDDEN}),
    Flag("--supervisor", {"type": int, "help": HIDDEN}),
)
WORKER = Flag("--worker", {"default": "1", "help": HIDDEN})
WITH_ATTRIBUTION = Flag("--with-attribution", {"action": "store_true", "help": HIDDEN})
EXAMPLE = (Flag("--tracker-url", {"help": HIDDEN}), Flag("--sites-url", {"help": HIDDEN}))


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the command line. A hidden command is one that only `serve` starts."""

    name: str
    run: Callable[[Options], int]
    flags: tuple[Flag, ...]
    hidden: bool = False


COMMANDS = (
    Command("serve", serve, (DATA, HOST, TRACKER_PORT, APP_PORT, WORKERS, DEMO, SITE_PORT)),
    Command("tracker", tracker, (DATA, HOST, TRACKER_PORT, WORKERS, WORKER, *CHILD)),
    Command("attribution", attribution, (DATA, HOST, APP_PORT, *CHILD)),
    Command("reports", reports, (DATA, HOST, APP_PORT, WITH_ATTRIBUTION, *CHILD)),
    Command("import", import_, (FILE, DATA, REJECTS)),
    Command("audit", audit, (DATA, AUDIT_REPLAY)),
    Command("rebuild", rebuild, (DATA,)),
    Command("linker", linker, (DATA,)),
    Command("whatif", whatif, (DATA, WINDOW_DAYS, FIRST_TIER, SECOND_TIER, MODEL, SELF_REFERRAL, FORMAT)),
    Command("quarantine", quarantine, (DATA, REPLAY)),
    Command("bench", bench, BENCH_FLAGS),
    Command("redis", redis, (DATA, *CHILD), hidden=True),
    Command("example", example, (DATA, *EXAMPLE, *CHILD), hidden=True),
    Command("sites", sites, (DATA, *EXAMPLE, *CHILD), hidden=True),
)


# ── What the commands share ───────────────────────────────────────────────────────────────────────


def _settings(options: Options) -> Settings:
    """The settings, with the admin token that the data folder keeps unless one is set."""
    from tracker.data_folder import DataFolder

    settings = read_settings(data=options.data)
    return replace(settings, admin_token=DataFolder(settings.data).admin_token(settings)[0])


def _supervise(role: str, options: Options) -> int:
    from tracker.run import Wishes, serve_role

    settings = read_settings(data=options.data)
    wishes = Wishes(
        options.host,
        tracker_port=getattr(options, "tracker_port", 0),
        app_port=getattr(options, "app_port", 0),
        workers=getattr(options, "workers", 1),
    )
    return serve_role(role, settings, os.environ, wishes)


def _begin_child(options: Options) -> None:
    """A child logs under its role's name and ends with its supervisor."""
    from tracker import lifeline
    from tracker.serving import log_as

    role = "app" if getattr(options, "with_attribution", False) else options.command
    log_as(f"tracker-{options.worker}" if role == "tracker" else role)
    lifeline.end_with(options.supervisor)


def _serve_child(options: Options, app: Any, protocol: Any = None) -> int:
    from tracker.serving import serve_app

    _begin_child(options)
    serve_app(app, socket.socket(fileno=options.listen_fd), options.ready_fd, protocol)
    return 0


async def _admin_sign_in_link(redis_url: str, app_url: str) -> str:
    from redis.asyncio import Redis

    from reports.sessions import make_sign_in_link

    async with Redis.from_url(redis_url) as client:
        return await make_sign_in_link(client, app_url, "admin", seconds=3600)


def _parser() -> argparse.ArgumentParser:
    variables = "\n".join(f"  {name:<26}{purpose}" for name, purpose in VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="lasttouch",
        description="Affiliate link tracking and attribution: clicks, signups and payments become commission lines.",
        epilog=f"settings from the environment:\n{variables}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        about = command.run.__doc__ or ""
        shown: dict[str, Any] = {} if command.hidden else {"help": about}
        subparser = subparsers.add_parser(command.name, description=about, allow_abbrev=False, **shown)
        subparser.set_defaults(run=command.run)
        for flag in command.flags:
            subparser.add_argument(flag.name, **flag.how)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0 done, 1 it went wrong, 2 a flag or a setting is wrong."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except LasttouchError as error:
        print(f"lasttouch {options.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
