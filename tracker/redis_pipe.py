"""One connection to Redis for the journal's writes, with as little in between as can be.

A batch of commands goes out as one block of bytes and its answers come back in order; the journal's script answers with
an integer or an error, so that is all that is read (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/).
Everything else talks to Redis through redis-py; this exists because a general client costs more per batch than the
batch's clicks cost themselves.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

MAX_REPLY_LINE = 64 * 1024
_NO_SCRIPT = b"-NOSCRIPT"

Reply = int | RedisError
Replied = Callable[[list[Reply] | RedisError], None]
"""Takes the answers of one call, or what became of the connection meanwhile."""


def packed(command: Iterable[bytes]) -> bytes:
    """A command as Redis reads it: an array of bulk strings."""
    parts = list(command)
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces.append(b"$%d\r\n%b\r\n" % (len(part), part))
    return b"".join(pieces)


class RedisPipe:
    """A way to Redis: a connection that is made when it is needed, and dropped whenever something is wrong with it."""

    def __init__(self, url: str, connect_seconds: float = 1.0) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    async def call(self, commands: Sequence[bytes]) -> list[Reply]:
        """Send packed commands and wait for all answers; an error that Redis answers is among them.

        Raises RedisError when there is no connection or it breaks, and then what Redis did is unknown. A caller who
        stops waiting (a time limit) drops the connection, for its late answers would be taken for others'.
        """
        if not self.is_open:
            async with self._connecting:
                if not self.is_open:
                    self._connection = await connect(self._url, self._connect_seconds)
        connection = self._connection
        if connection is None:
            raise RedisConnectionError("the connection to Redis was closed")
        try:
            return await connection.sent(commands)
        except asyncio.CancelledError:
            connection.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._connection is not None and not self._connection.is_lost

    def send(self, commands: Sequence[bytes], replied: Replied) -> None:
        """Send packed commands on an open connection; `replied` is called once, when their answers are there or the
        connection is gone. Raises RedisError when there is none. To stop waiting, `close`."""
        if self._connection is None:
            raise RedisConnectionError("there is no connection to Redis")
        self._connection.send(commands, replied)

    def close(self) -> None:
        """Drop the connection. Who still waits is told so."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Connection(asyncio.Protocol):
    """One connection, from its making to its loss. Another one has another object: they cannot disturb each other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Replied, int, list[Reply]]] = deque()
        self._unread = b""
        self.is_lost = False

    def send(self, commands: Sequence[bytes], replied: Replied) -> None:
        """See RedisPipe.send."""
        if self._transport is None or self.is_lost:
            raise RedisConnectionError("there is no connection to Redis")
        self._transport.write(b"".join(commands) if len(commands) > 1 else commands[0])
        self._waiting.append((replied, len(commands), []))

    def sent(self, commands: Sequence[bytes]) -> asyncio.Future[list[Reply]]:
        """Send packed commands; the future has their answers."""
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()

        def replied(answers: list[Reply] | RedisError) -> None:
            if future.done():
                return
            if isinstance(answers, RedisError):
                future.set_exception(answers)
            else:
                future.set_result(answers)

        self.send(commands, replied)
        return future

    def close(self) -> None:
        """Drop the connection. Who still waits is told so."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()
        self._fail(RedisConnectionError("the connection to Redis was closed"))

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self.is_lost:  # whoever wanted it has stopped waiting
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self._fail(RedisConnectionError(f"the connection to Redis was lost: {error or 'closed by Redis'}"))

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\r\n")
        if len(self._unread) > MAX_REPLY_LINE:
            self.close()
            return
        for line in lines:
            if not self._waiting:
                self.close()  # an answer that nobody asked for: we lost count
                return
            replied, wanted, answers = self._waiting[0]
            answers.append(read_reply(line))
            if len(answers) == wanted:
                self._waiting.popleft()
                replied(answers)

    def _fail(self, error: RedisError) -> None:
        while self._waiting:
            replied, _, _ = self._waiting.popleft()
            replied(error)


async def connect(url: str, limit_seconds: float) -> Connection:
    """A connection that has said what a new one must say first. Raises RedisError; no half-made one stays behind."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    connection = Connection()
    try:
        async with asyncio.timeout(limit_seconds):
            if parts.scheme == "unix":
                await loop.create_unix_connection(lambda: connection, parts.path)
            else:
                tls = ssl.create_default_context() if parts.scheme == "rediss" else None
                host, port = parts.hostname or "localhost", parts.port or 6379
                await loop.create_connection(lambda: connection, host, port, ssl=tls)
            if greeting := handshake(url):
                for answer in await connection.sent(greeting):
                    if isinstance(answer, RedisError):
                        raise answer
    except (OSError, TimeoutError, RedisError) as error:
        connection.close()
        raise RedisConnectionError(f"cannot connect to Redis: {error or type(error).__name__}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def read_reply(line: bytes) -> Reply:
    """An integer, a status (as 0) or an error, from a line without its end."""
    if line[:1] == b":":
        return int(line[1:])
    if line[:1] == b"+":
        return 0
    text = line[1:].decode("utf-8", "replace")
    return NoScriptError(text) if line.startswith(_NO_SCRIPT) else ResponseError(text)


def handshake(url: str) -> list[bytes]:
    """What a new connection must say first: the user, the password and the database of the URL."""
    parts = urlsplit(url)
    query: dict[str, Any] = parse_qs(parts.query)
    password = unquote(parts.password or query.get("password", [""])[0])
    user = unquote(parts.username or query.get("username", [""])[0])
    database = query.get("db", [""])[0] or (parts.path.strip("/") if parts.scheme != "unix" else "")
    commands = []
    if password:
        commands.append(packed([b"AUTH", *([user.encode()] if user else []), password.encode()]))
    if database and database != "0":
        commands.append(packed([b"SELECT", database.encode()]))
    return commands
