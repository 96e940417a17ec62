"""Proves that the tests of the money path can fail: makes one small mistake at a time in a copy, and runs them.

`make mutants` tries a sample of every file's mistakes, drawn by a seed. A mutant that survives needs a new test, or a
reason in ARGUED. It takes half a minute per mutant, so it is run by hand.
"""

import argparse
import ast
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WANTED = 0.95  # of the mutants that nobody argues for
TIMEOUT_S = 300  # a mistake may cause an endless loop
PER_FILE = 4

# Files of the money path, and the tests that must notice a mistake there, the fastest first.
JOURNAL = ("tests/journal", "tests/torture")
TESTS = {
    "server/entries.py": ("tests/journal/test_entries.py", *JOURNAL, "tests/wallet"),
    "server/journal/": JOURNAL,
    "server/orders/": ("tests/journal", "tests/http"),
    "server/money/": ("tests/wallet", "tests/torture"),
    "server/store/keys.py": ("tests/store", "tests/wallet"),
    "server/store/guard.py": ("tests/store", "tests/wallet", "tests/torture"),
    "server/store/lua/wallet_": ("tests/wallet", "tests/journal", "tests/torture"),
    "server/store/lua/opening_": ("tests/wallet", "tests/journal", "tests/torture"),
    "server/store/lua/compare_": JOURNAL,
    "server/store/lua/include/integer": ("tests/wallet",),
    "server/store/lua/include/s": ("tests/wallet",),  # spend_limit and set_limit
}
SKIPPED = ("server/journal/migrations/", "server/journal/tables.py")

# Mutants that change nothing that anybody can see: file, the mistake, and why.
ARGUED: dict[tuple[str, str], str] = {}


class Mutant(NamedTuple):
    """One mistake: the text of the file with it, and how it reads."""

    file: str
    change: str
    text: str


SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
LUA = (
    (r" == ", " ~= "),
    (r" ~= ", " == "),
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"\band\b", "or"),
    (r"\bnot ", ""),
    (r"\b1000\b", "1001"),
    (r"^ *redis\.call\(.*\)$", ""),
)


def mistakes(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in place of a node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield ast.Compare(node.left, [SWAPS[type(op)]()], node.comparators)  # type: ignore[list-item]
        case ast.BinOp(op=op) if type(op) in SWAPS and not isinstance(node.left, ast.Constant | ast.JoinedStr):
            yield ast.BinOp(node.left, SWAPS[type(op)](), node.right)  # type: ignore[arg-type]
        case ast.BoolOp(op=op):
            yield ast.BoolOp(SWAPS[type(op)](), node.values)  # type: ignore[arg-type]
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Expr(value=ast.Call() | ast.Await()) if not is_log(node):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))


def is_log(node: ast.Expr) -> bool:
    return ast.unparse(node).startswith(("log.", "await asyncio.sleep"))


def of_python(file: str, text: str) -> Iterator[Mutant]:
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    source = text.encode()
    for node in bodies(ast.parse(text)):
        for wrong in mistakes(node):
            begin = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
            end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
            put = ast.unparse(ast.fix_missing_locations(wrong)).encode()
            put = b"(" + put + b")" if isinstance(wrong, ast.expr) else put
            change = f"{node.lineno}: {source[begin:end].decode()} -> {put.decode()}"  # type: ignore[attr-defined]
            yield Mutant(file, " ".join(change.split()), (source[:begin] + put + source[end:]).decode())


def bodies(module: ast.Module) -> Iterator[ast.AST]:
    """The nodes inside of functions, without annotations, assertions, logging and what stands in f-strings."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        skipped = isinstance(node, ast.Assert | ast.JoinedStr | ast.AnnAssign | ast.arguments)
        if skipped or (isinstance(node, ast.Expr) and is_log(node)):
            return
        yield node
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and child in (node.returns, node.args)):
                yield from walk(child)

    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                yield from walk(statement)


def of_lua(file: str, text: str) -> Iterator[Mutant]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("--"):
            continue
        for right, wrong in LUA:
            for found in re.finditer(right, line):
                changed = line[: found.start()] + wrong + line[found.end() :]
                rest = text.splitlines()
                rest[number - 1] = changed
                yield Mutant(file, f"{number}: {line.strip()} -> {changed.strip()}", "\n".join(rest) + "\n")


def mutants(only: str, per_file: int, seed: int) -> list[Mutant]:
    """A sample of each file's mistakes."""
    tracked = subprocess.run(["git", "ls-files", "server"], cwd=ROOT, capture_output=True, text=True, check=True)
    found: list[Mutant] = []
    for file in tracked.stdout.split():
        if not file.startswith(tuple(TESTS)) or file.startswith(SKIPPED) or only not in file:
            continue
        of = of_lua if file.endswith(".lua") else of_python
        every = list(dict.fromkeys(of(file, (ROOT / file).read_text())))
        found += random.Random(f"{seed} {file}").sample(every, min(per_file, len(every)))
    return found


def tests_of(file: str) -> tuple[str, ...]:
    return next(tests for prefix, tests in TESTS.items() if file.startswith(prefix))


def is_killed(tree: Path, tests: tuple[str, ...]) -> bool:
    """Whether one of the tests notices."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    for each in tests:
        try:
            done = subprocess.run([*command, each], cwd=tree, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return True
        if done.returncode:
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="files whose name has this in it")
    parser.add_argument("--per-file", type=int, default=PER_FILE)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chosen = mutants(asked.only, asked.per_file, asked.seed)
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="liveroom-mutants-") as folder:
        tree = Path(folder)
        names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in names.stdout.split():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
        for mutant in chosen:
            path, began = tree / mutant.file, time.monotonic()
            right = path.read_text()
            path.write_text(mutant.text)
            killed = is_killed(tree, tests_of(mutant.file))
            path.write_text(right)
            argued = (mutant.file, mutant.change.partition(": ")[2]) in ARGUED
            outcome = "killed" if killed else "argued" if argued else "SURVIVED"
            survivors += [mutant] if outcome == "SURVIVED" else []
            print(f"{outcome:8} {mutant.file}:{mutant.change}  ({time.monotonic() - began:.0f} s)", flush=True)
    killed_share = 1 - len(survivors) / max(1, len(chosen))
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed or argued, seed {asked.seed}")
    return 0 if killed_share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
