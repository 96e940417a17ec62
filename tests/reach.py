"""Which blocks of the program each test reaches: marks in a copy of it, and a pytest plugin that notes them.

`tests/mutants.py` runs only tests that reach the block with the mistake. A block is the body of a function, a branch
or a loop. It is named by its function and a number, so that a change elsewhere in the file keeps the name. A Lua
script is one block.
"""

import ast
import builtins
import functools
import json
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

MARK = "reached_block"
NOTES = "LIVEROOM_REACH"  # the file to which the plugin adds a line for each test
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
LISTS = ("body", "orelse", "finalbody")

_reached: set[str] = set()


def blocks(module: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    """The blocks inside of functions, each before those in it: name and statements."""

    def below(node: ast.AST, function: str, count: list[int]) -> Iterator[tuple[str, list[ast.stmt]]]:
        for name in LISTS:
            held = getattr(node, name, [])
            if function and isinstance(held, list) and held and not isinstance(node, ast.ClassDef):
                yield f"{function} {count[0]}", held
                count[0] += 1
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FUNCTION | ast.ClassDef):
                yield from below(child, f"{function}.{child.name}", [0])
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from below(child, function, count)

    for top in module.body:
        if isinstance(top, FUNCTION | ast.ClassDef):
            yield from below(top, top.name, [0])


def block_at(text: str, line: int) -> str:
    """The innermost block that has this line."""
    found = ""
    for name, held in blocks(ast.parse(text)):
        if held[0].lineno <= line <= (held[-1].end_lineno or 0):
            found = name
    return found


def marked(file: str, text: str) -> str:
    """The same module, which calls MARK at the head of each block."""
    module = ast.parse(text)
    for name, held in list(blocks(module)):
        has_docstring = isinstance(held[0], ast.Expr) and isinstance(held[0].value, ast.Constant)
        held.insert(int(has_docstring), ast.parse(f"{MARK}({f'{file} {name}'!r})").body[0])
    return ast.unparse(ast.fix_missing_locations(module))


def mark_scripts() -> None:
    """Note each Lua script that is called."""
    from server.store import headers, scripts  # noqa: PLC0415  # this process may want none of the program

    whole, shapes = scripts.Script.__call__, scripts.Script.check

    @functools.cache
    def files(name: str) -> list[str]:
        source = (scripts.FOLDER / f"{name}.lua").read_text()
        head = headers.read(name, source, ("KEYS", "ARGV", "Returns"))
        parts = [f"include/{each}.lua" for each in head.get("INCLUDE", "").split()]
        parts += [
            each.name for hook in head.get("HOOK", "").split()[:1] for each in scripts.FOLDER.glob(f"*_on_{hook}.lua")
        ]
        return [f"server/store/lua/{each}" for each in (f"{name}.lua", *parts)]

    def note(script: scripts.Script) -> None:
        _reached.update(files(script.name))

    def called(script: scripts.Script, **named: Any) -> scripts.Call:
        note(script)
        return whole(script, **named)

    def checked(script: scripts.Script, keys: Any, args: Any) -> None:
        note(script)
        shapes(script, keys, args)

    scripts.Script.__call__ = called  # type: ignore[assignment, method-assign]
    scripts.Script.check = checked  # type: ignore[assignment, method-assign]


if NOTES in os.environ:
    setattr(builtins, MARK, _reached.add)

    @pytest.hookimpl(trylast=True)
    def pytest_configure() -> None:
        mark_scripts()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
        _reached.clear()
        failed = item.session.testsfailed
        began, cpu = time.monotonic(), time.process_time()
        outcome = yield
        waited, worked = time.monotonic() - began, time.process_time() - cpu
        if item.session.testsfailed != failed:
            return outcome
        line = {"test": item.nodeid, "s": round(min(waited, worked * 2 + 0.05), 3), "blocks": sorted(_reached)}
        with Path(os.environ[NOTES]).open("a") as notes:
            notes.write(json.dumps(line) + "\n")
        return outcome
