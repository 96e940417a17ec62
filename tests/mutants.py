"""Proves that the tests of the money path, or of delivery, can fail: makes one small mistake at a time, and runs them.

`make mutants` first learns which tests reach which block of the program (minutes, once: `--learnt FILE` keeps it), and
then tries a sample of every file's mistakes, drawn by a seed; `make mutants OVER=delivery` does so for edge, rooms,
features and the Python client. Each runs only the tests that reach it, up to `--budget-s` of them: some seconds. A
mutant that survives needs a new test, or a reason in ARGUED.
"""

import argparse
import ast
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from tests import known_delivery, known_mistakes, reach
from tests.trials import ROOT, Reached, Tree, load_libraries

PER_FILE = 4
BUDGET_S = 30.0


class Part(NamedTuple):
    """A part of the program, and the tests that must notice a mistake there."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    wanted: float  # of the mutants that nobody argues for
    but: tuple[str, ...] = ()  # files of another part

    def tracked(self) -> list[str]:
        names = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
        return [each for each in names.stdout.split() if self.has(each)]

    def has(self, file: str) -> bool:
        return file.startswith(self.files) and not file.startswith((*SKIPPED, *self.but))


KNOWN = (*known_mistakes.KNOWN, *known_delivery.KNOWN)
ARGUED = (*known_mistakes.ARGUED, *known_delivery.ARGUED)
PACKAGES = ("server", "protocol")
SKIPPED = ("server/journal/migrations/", "server/journal/tables.py")
MONEY_FILES = (
    "server/entries.py",
    "server/journal/",
    "server/orders/",
    "server/money/",
    "server/store/keys.py",
    "server/store/guard.py",
    "server/store/lua/wallet_",
    "server/store/lua/opening_",
    "server/store/lua/compare_",
    "server/store/lua/correct_",
    "server/store/lua/moneytime_",
    "server/store/lua/claims_",
    "server/store/lua/claimed_",
    "server/store/lua/refill_",
    "server/store/lua/include/entry_time",
    "server/store/lua/include/integer",
    "server/store/lua/include/overtaken",
    "server/store/lua/include/s",  # spend_limit, set_limit, set_status
    "server/store/lua/include/take_lease",
)
DELIVERY_FILES = (
    "server/edge/",
    "server/rooms/",
    "server/features/",
    "server/store/lua/",  # but for what is the money path's
    "protocol/chatlines.py",
    "protocol/client.py",
    "protocol/folding.py",
    "protocol/folds/",
)
MONEY_TESTS = (
    "tests/journal",
    "tests/wallet",
    "tests/store",
    "tests/http/test_reversals.py",
    "tests/torture/test_guard.py",
    "tests/torture/test_hostile.py",
)
CLIENT_TESTS = tuple(f"tests/test_{each}.py" for each in ("client", "client_on_site", "client_python", "client_replay"))
PARTS = {
    "money": Part(MONEY_FILES, MONEY_TESTS, 0.95),
    "delivery": Part(
        DELIVERY_FILES, ("tests/edge", "tests/rooms", "tests/features", "tests/http", *CLIENT_TESTS), 0.9, MONEY_FILES
    ),
}


class Mutant(NamedTuple):
    """One mistake: the text of the file with it, and how it reads."""

    file: str
    change: str
    text: str
    by: str = ""  # the test that must find it


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
        case ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
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
        skipped = skipped or (isinstance(node, ast.keyword) and node.arg == "strict")  # of zip: for us
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
            for found in re.finditer(right, line.partition(" -- ")[0]):
                changed = line[: found.start()] + wrong + line[found.end() :]
                rest = text.splitlines()
                rest[number - 1] = changed
                yield Mutant(file, f"{number}: {line.strip()} -> {changed.strip()}", "\n".join(rest) + "\n")


def every(file: str) -> list[Mutant]:
    """All mistakes of a file."""
    of = of_lua if file.endswith(".lua") else of_python
    return list(dict.fromkeys(of(file, (ROOT / file).read_text())))


def mutants(part: Part, only: str, per_file: int, seed: int) -> list[Mutant]:
    """A sample of each file's mistakes."""
    found: list[Mutant] = []
    for file in part.tracked():
        if re.search(only, file):
            all_of_it = every(file)
            found += random.Random(f"{seed} {file}").sample(all_of_it, min(per_file, len(all_of_it)))
    return found


def known(part: Part, only: str) -> list[Mutant]:
    """The mistakes that are written by hand."""
    found: list[Mutant] = []
    for each in ARGUED:
        lines = {line.strip() for line in (ROOT / each.file).read_text().splitlines()}
        assert each.line in lines, f"{each.file} has no line: {each.line}"
    for what, file, right, wrong, by in KNOWN:
        text = (ROOT / file).read_text()
        assert text.count(right) == 1, f"{file} has not once: {right}"
        if part.has(file) and re.search(only, file):
            line = text[: text.index(right)].count("\n") + 1
            found.append(Mutant(file, f"{line}: {what}", text.replace(right, wrong), by))
    return found


_SURVIVED = re.compile(r"^(?:SURVIVED |UNREACHED) (\S+?):(\d+: .*)  \(\d+ s; .*\)$", re.MULTILINE)


def survivors(part: Part, printed: str, only: str) -> list[Mutant]:
    """Those that an earlier run's output says survived. One that is the only one of its kind may have moved since."""
    exactly = set(_SURVIVED.findall(printed))
    wanted = {_kind(file, change) for file, change in exactly}
    files = [file for file in part.tracked() if re.search(only, file)]
    found = known(part, only) + [mutant for file in files for mutant in every(file)]
    kinds = Counter(_kind(mutant.file, mutant.change) for mutant in found)
    return [
        mutant
        for mutant in found
        if (mutant.file, mutant.change) in exactly
        or (kinds[kind := _kind(mutant.file, mutant.change)] == 1 and kind in wanted)
    ]


def _kind(file: str, change: str) -> tuple[str, str]:
    return file, change.partition(": ")[2]


def block_of(mutant: Mutant) -> str:
    if mutant.file.endswith(".lua"):
        return ""
    return reach.block_at((ROOT / mutant.file).read_text(), int(mutant.change.partition(":")[0]))


def argued(mutant: Mutant) -> str:
    """Why a mutant changes nothing, or ''."""
    number, _, change = mutant.change.partition(": ")
    line = (ROOT / mutant.file).read_text().splitlines()[int(number) - 1].strip()
    key = mutant.file, line, change
    return next((each.why for each in ARGUED if (each.file, each.line, each.change) == key), "")


def learn(part: Part, notes: Path, tests: list[str], options: list[str], *, small: bool) -> None:
    """Run these tests in a marked copy, and note what each reaches that passes. In a whole world all must pass."""
    with tempfile.TemporaryDirectory(prefix="liveroom-mutants-") as folder:
        tree = Tree(Path(folder), small=small)
        tree.mark(file for file in part.tracked() if file.endswith(".py"))
        failure = tree.first_failure([*options, *tests], notes)
        print((tree.folder / "said.txt").read_text().splitlines()[-1])
        assert small or not failure, (
            f"{failure} fails without a mistake: {(tree.folder / 'said.txt').read_text()[-2000:]}"
        )


class Trier:
    """One process that tries mutants in a tree of its own."""

    def __init__(self, folder: Path, notes: Path, budget_s: float, small: bool) -> None:
        self._tree = Tree(folder / str(os.getpid()), small=small)
        self._whole = Tree(folder / f"{os.getpid()}-whole", small=False)
        self._reached = Reached(notes)
        self._budget_s = budget_s

    def outcome(self, mutant: Mutant) -> tuple[str, str]:
        """What became of a mutant, and the test that caught it, or how many did not."""
        if why := argued(mutant):
            return "argued", why
        if mutant.by:
            failed = self._whole.fails_with(mutant.file, mutant.text, [mutant.by])
            self._reached.caught(mutant.file, mutant.by)
            return ("killed", failed) if failed else ("SURVIVED", mutant.by)
        tests = self._reached.tests(mutant.file, block_of(mutant), self._budget_s)
        if not tests:
            return "UNREACHED", ""
        failed = self._tree.fails_with(mutant.file, mutant.text, tests)
        if failed:
            self._reached.caught(mutant.file, failed)
            return "killed", failed
        return "SURVIVED", f"{len(tests)} tests"


triers: list[Trier] = []  # the one of this process


def begin(folder: Path, notes: Path, budget_s: float, small: bool) -> None:
    load_libraries()
    triers.append(Trier(folder, notes, budget_s, small))


def tried(mutant: Mutant) -> tuple[Mutant, str, str, float]:
    began = time.monotonic()
    outcome, why = triers[0].outcome(mutant)
    return mutant, outcome, why, time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--over", choices=PARTS, default="money")
    parser.add_argument("--only", default="", help="files whose name matches this expression")
    parser.add_argument("--per-file", type=int, default=PER_FILE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="of tests for one mutant")
    parser.add_argument("--learnt", type=Path, help="a file that keeps which tests reach what")
    parser.add_argument("--learn", nargs="*", default=[], help="tests to learn anew, into that file")
    parser.add_argument("--deselect", default="", help="tests not to learn, as for pytest -k")
    parser.add_argument("--again", type=Path, help="only those that survived in this output")
    parser.add_argument(
        "--small", action="store_true", help="a world of few partitions, without the tests that need all"
    )
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    part = PARTS[asked.over]
    chosen = known(part, asked.only) + mutants(part, asked.only, asked.per_file, asked.seed)  # those say what tells
    if asked.again:
        chosen = survivors(part, asked.again.read_text(), asked.only)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="liveroom-mutants-") as folder:
        notes = asked.learnt or Path(folder) / "notes"
        if asked.learn or not notes.exists():
            load_libraries()
            learn(
                part,
                notes,
                asked.learn or [*part.tests],
                ["-k", f"not ({asked.deselect})"] if asked.deselect else [],
                small=asked.small,
            )
        own = (Path(folder), notes, asked.budget_s, asked.small)
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(asked.jobs, context, initializer=begin, initargs=own) as pool:
            for done in as_completed([pool.submit(tried, mutant) for mutant in chosen]):
                mutant, outcome, why, took_s = done.result()
                counts.setdefault(mutant.file, Counter())[outcome] += 1
                print(f"{outcome:9} {mutant.file}:{mutant.change}  ({took_s:.0f} s; {why})", flush=True)
    return summed_up(counts, asked.seed, part.wanted)


def summed_up(counts: dict[str, Counter[str]], seed: int, wanted: float) -> int:
    """Print each file's figures, and return the exit status."""
    for file, count in counts.items():
        print(f"{file}: {', '.join(f'{number} {outcome}' for outcome, number in sorted(count.items()))}")
    total = sum(counts.values(), Counter())
    tried = total.total() - total["argued"]
    print(f"{total['killed']} of {tried} mutants killed, {total['argued']} argued, seed {seed}")
    return 0 if total["killed"] >= wanted * tried else 1


if __name__ == "__main__":
    sys.exit(main())
