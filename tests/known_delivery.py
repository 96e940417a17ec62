"""As known_mistakes.py, for delivery: edge, rooms, features and the Python client."""

from tests.known_mistakes import Argued, Known

KNOWN = (
    Known(
        "people who have left stay among the balances",
        "server/edge/balances.py",
        "if others:",
        "if True:",
        "tests/torture/test_churn.py::test_a_churned_node_holds_what_it_held_before",
    ),
    Known(
        "a token for another room is let in for every role but viewers",
        "server/edge/admission.py",
        "claims.room is not None and claims.room != room_id",
        'claims.role == "viewer" and claims.room not in (None, room_id)',
        "tests/edge/test_session.py::test_refusals_before_the_upgrade",
    ),
    Known(
        "a token for another room refreshes for every role but viewers",
        "server/features/session.py",
        "claims.room not in (None, room.id)",
        '(claims.role == "viewer" and claims.room not in (None, room.id))',
        "tests/features/test_session.py::test_nobody_stays_with_a_token_for_another_room[moderator]",
    ),
    Known(
        "after a refresh the socket never ends",
        "server/features/session.py",
        "member.granted = new\n",
        "member.granted = new\n    member.expires_s = 1e12\n",
        "tests/features/test_session.py::test_a_refreshed_socket_ends_with_its_new_token",
    ),
    Known(
        "one of two sockets of a person leaves, and the person is gone",
        "server/features/viewers.py",
        "if presence.sockets[member.user_id] <= 0:",
        "if True:",
        "tests/features/test_viewers.py::test_one_of_two_sockets",
    ),
    Known(
        "one of two sockets of a person leaves, and the other hears of no balance",
        "server/edge/balances.py",
        "if others:",
        "if False:",
        "tests/features/test_gifts.py::test_every_socket_of_the_sender_gets_the_balance",
    ),
    Known(
        "who is told twice to have come counts twice",
        "server/store/lua/viewers_count.lua",
        "if redis.call('SADD', mine, user_id) == 1 then",
        "if redis.call('SADD', mine, user_id) >= 0 then",
        "tests/features/test_viewers.py::test_an_answer_that_is_lost",
    ),
    Known(
        "a gift of another broadcast may count later",
        "server/store/lua/gifts_show.lua",
        "  if not of_now then\n    redis.call('SET', once, '0', 'EX', once_s)\n",
        "  if not of_now then\n",
        "tests/features/test_feature_scripts.py::test_a_gift_of_another_broadcast",
    ),
    Known(
        "what waits for the room store goes on waiting when it is back",
        "server/rooms/fanout.py",
        "        woken.set()\n",
        "",
        "tests/rooms/test_fanout.py::test_a_store_that_is_back_is_asked_at_once",
    ),
    Known(
        "chats of a gap that were seen come again",
        "protocol/chatlines.py",
        "if chat.id in self._ids or",
        "if",
        "tests/test_client_replay.py::test_the_chats_of_a_gap_come_once_and_in_order[json-e1]",
    ),
    Known(
        "a hidden count between two chunks is told to nobody",
        "server/rooms/outbox.py",
        "if self.head > self.flushed or self._hidden:",
        "if self.head > self.flushed:",
        "tests/rooms/test_outbox.py::test_a_count_between_two_chunks",
    ),
    Known(
        "a second check of the position during a fill is forgotten",
        "server/rooms/fanout.py",
        "if subscription.filling:\n            subscription.again = True",
        "if subscription.filling:\n            pass",
        "tests/rooms/test_fanout.py::test_a_check_during_a_check",
    ),
    Known(
        "nothing is filled after the bus comes back",
        "server/rooms/fanout.py",
        "for subscription in self._subscriptions.values():",
        "for subscription in ():",
        "tests/rooms/test_fanout.py::test_a_bus_connection_that_is_cut",
    ),
    Known(
        "an older balance wins",
        "protocol/client.py",
        "if place <= self._wallet_entry or",
        "if",
        "tests/test_client_python.py::test_an_older_balance_is_no_news[json]",
    ),
    Known(
        "seqs are kept over a new epoch",
        "protocol/client.py",
        "if not welcome.resumed:",
        "if not welcome.resumed and welcome.seq > self._seq:",
        "tests/test_client_python.py::test_a_gap_is_told_and_the_snapshot_replaces_the_room[json]",
    ),
)

NOTHING_KEPT = "who has no limit is remembered for 0 ms: the store deletes that key in the same step"
REFUSED = "local refused = (slow > 0 or unique > 0) and wait_of(talk, slow, unique, text_hash)"
ARGUED: tuple[Argued, ...] = (
    Argued(
        "server/store/lua/chat_send.lua",
        REFUSED,
        f"{REFUSED} -> {REFUSED.replace('slow > 0 or unique > 0', 'slow >= 0 or unique > 0')}",
        NOTHING_KEPT,
    ),
    Argued(
        "server/store/lua/chat_send.lua",
        REFUSED,
        f"{REFUSED} -> {REFUSED.replace('slow > 0 or unique > 0', 'slow > 0 or unique >= 0')}",
        NOTHING_KEPT,
    ),
    Argued(
        "protocol/folding.py",
        "return fold_",
        "return fold_ -> return None",
        "nobody uses the name of what is registered",
    ),
    Argued(
        "protocol/folding.py",
        "return begin",
        "return begin -> return None",
        "nobody uses the name of what is registered",
    ),
    Argued(
        "server/rooms/registry.py",
        "return handler",
        "return handler -> return None",
        "nobody uses the name of what is registered",
    ),
    Argued(
        "server/edge/socket.py",
        "if size < body + 2:",
        "2 -> (3)",
        "a frame with such a length has more bytes behind it",
    ),
    Argued(
        "server/edge/turns.py",
        "if self._left_s <= 0:",
        "self._left_s <= 0 -> (self._left_s < 0)",
        "no time is left to the nanosecond",
    ),
    Argued(
        "server/features/gifts.py",
        "self.running = True  # a node that died may have left some",
        "self.running = True -> pass",
        "the first who joins sets it, too",
    ),
    Argued(
        "server/features/likes.py",
        "return Ok()",
        "return Ok() -> return None",
        "a handler that returns nothing is answered with ok",
    ),
    Argued(
        "server/rooms/listing.py",
        "if time.monotonic() < self._until or (self._reading.locked() and self._until > 0):",
        "0 -> (1)",
        "the monotonic clock is above a second",
    ),
    Argued(
        "server/rooms/outbox.py",
        "if flush.to < flush.due_to:",
        "flush.to < flush.due_to -> (flush.to <= flush.due_to)",
        "who is at that seq is due no more",
    ),
    Argued(
        "server/rooms/outbox.py",
        "if self.flushed < self.head and self.flushed > self._due_to:",
        "self.flushed < self.head -> (self.flushed <= self.head)",
        "when all is flushed, nothing waits up to the head",
    ),
    Argued(
        "server/rooms/pace.py",
        "if lag_s * 1000 > limits.LAG_MS_HIGH:",
        "lag_s * 1000 > limits.LAG_MS_HIGH -> (lag_s * 1000 >= limits.LAG_MS_HIGH)",
        "no lag is that long to the nanosecond",
    ),
)
