"""Applause: what one claps, everybody hears."""

from tests.site import Site


async def test_claps_are_told(site: Site) -> None:
    """Whoever claps, the room hears the sum."""
    alice, bob = await site.join("alice"), await site.join("bob")
    assert (await alice.ask("applause.clap", count=2))["left"] == 118
    await bob.happened("applause.counted", total=5)
