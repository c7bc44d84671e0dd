"""A long list's answer is what a short one's would be, and others are answered while it is made."""

from __future__ import annotations

import json

import anyio
import anyio.lowlevel
import pytest
from starlette.responses import JSONResponse

from reports.long_lists import PIECE, json_answer, shape_each


@pytest.mark.anyio
@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_a_long_list_reads_like_a_short_one(length: int) -> None:
    items = [{"number": number, "name": f'ü "{number}"', "none": None} for number in range(length)]
    document = {"result": items, 'a "name"': {"of": [1, 2.5]}, "empty": []}
    answer, plain = await json_answer(document, 201), JSONResponse(document, 201)
    assert answer.body == plain.body and json.loads(bytes(answer.body)) == document
    assert (answer.status_code, answer.headers["content-type"]) == (201, plain.headers["content-type"])
    assert await shape_each(items, lambda item: item["number"]) == list(range(length))


@pytest.mark.anyio
async def test_others_go_on_meanwhile() -> None:
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(len(shaped))
            await anyio.lowlevel.checkpoint()

    shaped: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await shape_each(range(10 * PIECE), shaped.append)
        tasks.cancel_scope.cancel()
    assert len(turns) >= 9 and max(turns) < 10 * PIECE
