"""The commands whose rights the guard checks are those that a node sends to the wallet store."""

import ast
import re
from pathlib import Path

import pytest

from server.journal.opening import SCRIPTS as OPENING_SCRIPTS
from server.money.wallet import SCRIPTS as WALLET_SCRIPTS
from server.store import guard
from server.store.scripts import Script
from tests.tree import ROOT

SCRIPTS = (*WALLET_SCRIPTS, *OPENING_SCRIPTS)
# The modules of a node that talk to the wallet store. The journal process has a user of its own, if it wants.
SENDERS = (
    *sorted((ROOT / "server/money").glob("*.py")),
    ROOT / "server/store/client.py",
    ROOT / "server/store/guard.py",
    ROOT / "server/store/receipts.py",
    ROOT / "server/journal/opening.py",
    ROOT / "server/journal/refill.py",
    ROOT / "server/journal/fork.py",
)
ALWAYS = {"HELLO", "AUTH", "SELECT"}  # open to all, and a database is chosen in the address
ASKED = {"ACL", "CONFIG"}  # the guard asks with these, and says when it may not
NOT_COMMANDS = {"OK", "ERR", "WRONGTYPE", "READONLY", "NOSCRIPT", "NOPERM", "NOAUTH", "WRONGPASS", "SCRIPTS"}


def words_of(path: Path) -> set[str]:
    """The first words of what a module sends: first arguments of calls, and first elements of tuples and lists."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        first: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr != "startswith":
            first = node.args[:1]
        elif isinstance(node, (ast.Tuple, ast.List)):
            first = node.elts[:1]
        for each in first:
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and re.fullmatch("[A-Z]{2,}", each.value):
                found.add(each.value)
    return found - NOT_COMMANDS


def test_what_a_node_sends_is_what_the_guard_checks() -> None:
    """No command is missing from the guard's list, and none stands there that nobody sends."""
    listed = {command[0] for command in (*guard.SENT, *guard.SENT_TO_REPLICATE)}
    outside = [path for path in SENDERS if path.name != "guard.py"]
    sent = set().union(*map(words_of, outside)) - ALWAYS
    assert sent <= listed | ASKED
    assert listed - sent == {"HINCRBY", "WAIT"}  # `guard.replicating` makes these two


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_command_of_a_script_is_found(script: Script) -> None:
    """Every call in a script names its command as text, so that the guard finds it and knows its arguments."""
    calls = len(re.findall(r"redis\.p?call\b", script.text))
    assert len(guard._COMMAND.findall(script.text)) == calls
    named = {command[0] for command in guard.commands_of([script])}
    assert named == set(re.findall(r"redis\.p?call\('([A-Z]+)'", script.text))
