"""Commands that wait for a reply, or for a connection. Each is answered, or given up."""

import msgspec

from protocol.gifts import SendGift
from protocol.wire import Command

WAITING_MAX = 50  # below the 64 that a server has under way for one person: none is refused when all go out at once


class QueueFull(Exception):
    """So many commands wait for a connection that another one may not."""


class Unanswered:
    """What was asked. A gift may be said again, for its id is paid once. Any other command is said once at most."""

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._said: set[str] = set()
        self._refs = 0

    @property
    def all(self) -> tuple[Command, ...]:
        return tuple(self._commands.values())

    def add(self, command: Command) -> Command:
        """Take a command that is said now. Returns it with its `ref`."""
        asked = self._with_ref(command)
        self._said.add(str(asked.ref))
        return asked

    def wait(self, command: Command) -> Command:
        """Take a command for the next connection. Returns it with its `ref`. Raises QueueFull."""
        if len(self._commands) >= WAITING_MAX:
            raise QueueFull
        return self._with_ref(command)

    def _with_ref(self, command: Command) -> Command:
        self._refs += 1
        ref = f"c{self._refs}"
        self._commands[ref] = asked = msgspec.structs.replace(command, ref=ref)
        return asked

    def take(self, ref: str | None) -> Command | None:
        """The command with this reference, which waits no longer."""
        self._said.discard(ref or "")
        return self._commands.pop(ref or "", None)

    def was_said(self, ref: str | None) -> bool:
        """Whether it went out: if so, nobody knows what became of it until its reply comes."""
        return ref in self._said

    def lose(self) -> tuple[Command, ...]:
        """The connection is lost. Returns those that were said and may not be said again."""
        return tuple(
            command
            for ref, command in list(self._commands.items())
            if ref in self._said and not isinstance(command, SendGift) and self.take(ref)
        )

    def again(self) -> list[Command]:
        """What is to be said on a new connection, in order."""
        self._said.update(self._commands)
        return list(self._commands.values())
