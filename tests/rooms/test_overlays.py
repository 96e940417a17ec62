"""What SQL has of a room's overlays."""

import msgspec

from protocol.overlay import OverlaySettings
from server.rooms.overlays import Overlays, overlays_of


def test_settings_of_a_newer_program() -> None:
    """What only it knows is as if it had not been set, and the rest stays."""
    body = b'{"settings":{"veil":30,"theme":"neon","lights":true,"widgets":[{"kind":"clock"}]},"muted":true,"x":1}'
    assert overlays_of(body) == Overlays(settings=OverlaySettings(veil=30), muted=True)
    assert overlays_of(msgspec.json.encode(Overlays(paused=True))) == Overlays(paused=True)
