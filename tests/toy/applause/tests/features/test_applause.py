"""Applause: everybody hears the claps."""

from tests.site import Site


async def test_claps_are_announced(site: Site) -> None:
    """When somebody claps, the room gets the sum."""
    alice, bob = await site.join("alice"), await site.join("bob")
    assert (await alice.ask("applause.clap", count=2))["left"] == 118
    await bob.happened("applause.counted", total=5)
