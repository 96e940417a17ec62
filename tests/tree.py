"""The source tree as the tidiness tests see it: files, modules, their imports and their strings."""

import ast
import functools
import gc
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = ("protocol", "server", "loadtest", "tests")


def sources(*packages: str, suffix: str = ".py") -> list[Path]:
    """Every source file below these packages, without what npm installed there."""
    found = (path for package in packages for path in (ROOT / package).rglob(f"*{suffix}"))
    return sorted(path for path in found if "node_modules" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree. A tree has no garbage, and to look for some while it grows takes most of the time."""
    gc.disable()
    try:
        return ast.parse(path.read_text(), name_of(path))
    finally:
        gc.enable()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sources("protocol", "server", "loadtest", "tests")}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs, without those for the type checker alone."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name_of(path)}: relative import"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield full if full in MODULES else str(child.module)
            yield from walk(child)

    return walk(parsed(path))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a file with its line; `§` stands for what an f-string inserts."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "§" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
