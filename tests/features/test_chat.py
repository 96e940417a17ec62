"""Chat."""

from tests.site import Site


async def test_everybody_is_told_in_one_order(site: Site) -> None:
    """A message reaches the sender and the others with the seq of its reply, in json and msgpack alike."""
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    reply = await alice.ask("chat.send", text=" hello ")
    for viewer in (alice, bob):
        event = await viewer.happened("chat.sent", id=reply["id"])
        assert event["seq"] == reply["seq"]
        assert event["text"] == "hello"
        assert event["user"] == {"user_id": "alice", "name": "Alice", "role": "viewer", "badges": []}
