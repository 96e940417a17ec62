"""A bot that thanks for gifts, and says what the room has got: `python bot.py https://live.example demo TOKEN`."""

import asyncio
import sys

from liveroom_client.aio import join
from liveroom_client.chat import ChatSent
from liveroom_client.gifts import GiftSent


async def main(base: str, name: str, token: str) -> None:
    async with join(base, name, token=token) as room:
        async for told in room:
            if isinstance(told, GiftSent) and not told.replayed:
                await room.chat(f"Thank you for {told.count} x {told.gift.name}, {told.from_.name}!")
            elif isinstance(told, ChatSent) and told.text == "!coins" and not told.replayed:
                await room.chat(f"{room.client.room.coins} coins so far")


asyncio.run(main(*sys.argv[1:]))
