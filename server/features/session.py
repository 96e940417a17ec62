"""Sessions: a member sends a new token before the old one expires, and keeps the socket."""

from protocol.refusals import Refusal, Refused
from protocol.session import RefreshSession, RefreshSessionOk, SessionRefusal
from server.rooms.about import granted
from server.rooms.registry import handles
from server.rooms.room import Member, Room
from server.tokens import BadToken


@handles(RefreshSession)
async def refresh_session(room: Room, member: Member, command: RefreshSession) -> RefreshSessionOk:
    """Extend the socket's life to the new token's. The token must be for the same user, and give the same role now."""
    try:
        claims = room.services.tokens.check(command.token, room.services.clock.now_ms() / 1000)
    except BadToken:
        raise Refused(Refusal.BAD_TOKEN) from None
    if claims.sub != member.user_id or claims.room not in (None, room.id):
        raise Refused(Refusal.BAD_TOKEN)
    if room.services.revocations.hold(claims.sub, room.id, claims.minted_ms):
        raise Refused(SessionRefusal.REVOKED)
    new = granted(claims, room.id)
    if room.role_of(member.user_id, new) != member.role:
        raise Refused(Refusal.BAD_TOKEN)
    member.granted = new
    member.facts, member.badges = claims.facts, claims.badges
    member.minted_ms = claims.minted_ms
    member.expires_s = max(member.expires_s, claims.exp)
    return RefreshSessionOk(expires_ms=int(member.expires_s * 1000))
