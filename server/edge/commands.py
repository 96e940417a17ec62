"""Carries out commands: each gets exactly one reply. Only this module turns errors into replies or closes."""

import asyncio

import msgspec
import structlog

import protocol
from protocol import BadCommand, Malformed, TooMany
from protocol.closes import Close, Closed
from protocol.refusals import Refusal, Refused
from protocol.session import Refuse
from protocol.wire import Command, Ok
from server import background, limits
from server.edge.liveness import AnyConnection
from server.rooms.frames import TEXT
from server.rooms.history import NoSuchRoom
from server.rooms.registry import HANDLERS
from server.rooms.room import Member
from server.store.client import StoreError

log = structlog.get_logger()


class Commands:
    """The commands of all sockets of a node."""

    def __init__(self) -> None:
        self.tasks = background.Tasks("command")
        self.taken = 0
        self.floods = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()  # kept, because until Python 3.12 each call is a system call (getpid)

    def received(self, connection: AnyConnection, opcode: int, payload: bytes) -> None:
        """Handle one frame: one command, or an array of them. Each gets exactly one reply."""
        member: Member = connection.member
        codec = connection.codec
        if (opcode == TEXT) != (codec == "json"):
            connection.close(Close.UNACCEPTABLE)
            return
        self.charge(connection, len(payload) // limits.MESSAGE_BYTES_PER_COMMAND)
        if connection.closing:
            return
        try:
            commands = protocol.decode_commands(codec, payload, limits.COMMANDS_PER_FRAME_MAX)
        except TooMany:
            connection.close(Close.PROTOCOL_ERROR, "too many commands in a frame")
            return
        except Malformed:
            connection.close(Close.PROTOCOL_ERROR, "malformed frame")
            return
        if not commands:
            self.charge(connection, 1)
        for command in commands:
            if connection.closing:
                return
            self._take(connection, member, command)

    def charge(self, connection: AnyConnection, cost: int) -> None:
        """Charge for work without a command: control frames, fragments, empty arrays, many bytes. Floods end here."""
        member: Member | None = connection.member
        if cost and member is not None and member.allowance.take(cost, self._loop.time()) < 0:
            self._end_flood(connection, member)

    def _end_flood(self, connection: AnyConnection, member: Member) -> None:
        if not connection.closing:
            self.floods += 1
            log.info("flood_ended", room=member.room.id, user=member.user_id)
            connection.close(Close.PROTOCOL_ERROR)

    def _take(self, connection: AnyConnection, member: Member, command: Command | BadCommand) -> None:
        self.taken += 1
        wait_ms = member.allowance.take(1, self._loop.time())
        if wait_ms < 0:
            self._end_flood(connection, member)
        elif wait_ms > 0 or member.in_flight >= limits.COMMANDS_IN_FLIGHT_MAX:
            _refuse(member, command.ref, Refused(Refusal.RATE_LIMITED, retry_after_ms=max(wait_ms, 100)))
        elif isinstance(command, BadCommand):
            _refuse(member, command.ref, Refused(Refusal.BAD_COMMAND), message=command.message)
        else:
            member.in_flight += 1
            self.tasks.spawn(self._carry_out(member, command))

    async def _carry_out(self, member: Member, command: Command) -> None:
        try:
            if member.role == "overlay" and not command.for_listeners:
                raise Refused(Refusal.NOT_ALLOWED)
            ok = await HANDLERS[type(command)](member.room, member, command)
            if command.ref is not None or command.always_answered:
                member.say(msgspec.structs.replace(ok or Ok(), ref=command.ref))
        except Refused as refused:
            _refuse(member, command.ref, refused)
        except Closed as closed:
            member.sink.close(closed.code)
        except NoSuchRoom:  # deleted while the command was under way: nobody needs to try again
            _refuse(member, command.ref, Refused(Refusal.ROOM_NOT_LIVE))
        except StoreError:
            _refuse(member, command.ref, Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS))
        except Exception:
            log.exception("command_failed", room=member.room.id, command=command.__struct_config__.tag)
            member.sink.close(Close.INTERNAL)
        finally:
            member.answered()


def _refuse(member: Member, ref: str | None, refused: Refused, message: str | None = None) -> None:
    reply = Refuse(
        ref=ref,
        reason=refused.reason.value,
        message=message or refused.reason.sentence,
        retry_after_ms=refused.retry_after_ms,
    )
    member.say({**msgspec.to_builtins(reply), **refused.data} if refused.data else reply)
