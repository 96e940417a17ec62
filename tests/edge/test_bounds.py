"""Every bound of limits.py: driven over its edge, or argued. A new one must say which."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
import websockets
from uvicorn.server import ServerState

import protocol
from protocol.closes import Close
from server import limits, text, words
from server.edge.patience import PatientHttp
from server.edge.socket import Connection
from server.features import viewers
from server.rooms.allowance import Allowance
from tests.frames import CLOSE, TEXT, Heard, Wire, feed, masked, written_frames
from tests.site import Site

ROOT = Path(__file__).parents[2]


# --- drivers without a site ----------------------------------------------------------------------------------------
def closes_with(stream: bytes) -> int | None:
    """The code that a stream of bytes ends with."""
    wire, heard = Wire(), Heard()
    feed(Connection(heard, wire, "json", set()), heard, [stream])
    return next((int.from_bytes(data[:2]) for opcode, data in written_frames(wire.written) if opcode == CLOSE), None)


async def frame_bytes() -> None:
    assert closes_with(masked(TEXT, b"x" * limits.FRAME_BYTES_MAX)) is None
    assert closes_with(masked(TEXT, b"x" * (limits.FRAME_BYTES_MAX + 1))) == Close.TOO_BIG


async def commands_per_frame() -> None:
    most = limits.COMMANDS_PER_FRAME_MAX
    pings = [b"[" + b",".join([b'{"type":"ping"}'] * count) + b"]" for count in (most, most + 1)]
    assert len(protocol.decode_commands("json", pings[0], most)) == most
    with pytest.raises(protocol.TooMany):
        protocol.decode_commands("json", pings[1], most)


def allowed(role: Any, burst: float, per_s: float) -> None:
    """So many at once, then so many a second; twice as many are a flood."""
    allowance = Allowance(role)
    assert [allowance.take(1, 1.0) for _ in range(int(burst))] == [0] * int(burst)
    assert allowance.take(1, 1.0) > 0
    assert allowance.take(0, 1.0 + 2 / per_s) == 0
    assert allowance.take(2 * burst + 2, 1.0 + 2 / per_s) == -1


async def commands_of_a_person() -> None:
    allowed("viewer", limits.COMMANDS_BURST, limits.COMMANDS_PER_S)


async def commands_of_a_bot() -> None:
    allowed("bot", limits.BOT_COMMANDS_BURST, limits.BOT_COMMANDS_PER_S)


class From(Wire):
    """A transport of a peer at this address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._extra = {"peername": (address, 4_000)}
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol


async def waits(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.get_running_loop().create_future()


class Http:
    """Connections to one server, whose app never answers."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.config = uvicorn.Config(waits, http=PatientHttp, log_config=None, access_log=False)
        self.config.load()

    def connect(self, address: str) -> tuple[PatientHttp, From]:
        wire, made = From(address), PatientHttp(self.config, self.state, {})
        made.connection_made(wire)
        return made, wire

    async def stop(self) -> None:
        for task in self.state.tasks:
            task.cancel()
        await asyncio.gather(*self.state.tasks, return_exceptions=True)


async def half_open_connections() -> None:
    http = Http()
    first, _ = http.connect("10.0.0.1")
    made = [http.connect("10.0.0.1")[1] for _ in range(limits.ADDRESS_HALF_OPEN_MAX - 1)]
    assert not any(wire.let_go for wire in made)
    _, late = http.connect("10.0.0.1")
    assert late.written.startswith(b"HTTP/1.1 429 ")
    assert late.let_go
    assert not http.connect("10.0.0.2")[1].let_go
    assert not any(http.connect("127.0.0.1")[1].let_go for _ in range(limits.ADDRESS_HALF_OPEN_MAX + 1))
    first.connection_lost(None)
    assert not http.connect("10.0.0.1")[1].let_go


async def pipelined_requests() -> None:
    http = Http()
    made, wire = http.connect("10.0.0.1")
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    made.data_received(request * (1 + limits.PIPELINED_MAX))
    assert not wire.let_go
    made.data_received(request * 1_000)
    assert wire.let_go
    assert len(made.pipeline) == limits.PIPELINED_MAX
    await http.stop()


async def letters() -> None:
    for name in ("_kept", "_is_seen", "_folded"):
        remembered = getattr(text, name)
        for code in range(0x4E00, 0x4E00 + limits.LETTERS_KEPT + 100):
            remembered(chr(code))
        assert remembered.cache_info().currsize == limits.LETTERS_KEPT


async def filters() -> None:
    for number in range(limits.FILTERS_KEPT + 100):
        words.blocked((f"word {number}",))
    assert words.blocked.cache_info().currsize == limits.FILTERS_KEPT


async def joined_people() -> None:
    presence = viewers._Presence()
    room: Any = SimpleNamespace(memory=lambda _feature, _make: presence)
    for number in range(limits.JOINED_KEPT + 10):
        member: Any = SimpleNamespace(role="viewer", user_id=f"u{number}", name="U")
        viewers.viewer_joined(room, member)
    assert list(presence.joined) == [f"u{number}" for number in range(10, limits.JOINED_KEPT + 10)]


DRIVEN: dict[str, Callable[[], Awaitable[None]]] = {
    "FRAME_BYTES_MAX": frame_bytes,
    "COMMANDS_PER_FRAME_MAX": commands_per_frame,
    "COMMANDS_PER_S": commands_of_a_person,
    "COMMANDS_BURST": commands_of_a_person,
    "BOT_COMMANDS_PER_S": commands_of_a_bot,
    "BOT_COMMANDS_BURST": commands_of_a_bot,
    "ADDRESS_HALF_OPEN_MAX": half_open_connections,
    "PIPELINED_MAX": pipelined_requests,
    "LETTERS_KEPT": letters,
    "FILTERS_KEPT": filters,
    "JOINED_KEPT": joined_people,
}


@pytest.mark.parametrize("name", DRIVEN)
async def test_over_the_edge(name: str) -> None:
    """At the bound it is taken, above it refused."""
    await DRIVEN[name]()


# --- drivers on a site ---------------------------------------------------------------------------------------------
async def test_handshake_s_max(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake whose room does not come is refused in time."""
    monkeypatch.setattr(limits, "HANDSHAKE_S_MAX", 0.05)
    monkeypatch.setattr(site.node.rooms, "open", lambda _room: asyncio.get_running_loop().create_future())
    with pytest.raises(websockets.InvalidStatus) as error:
        await site.join("alice")
    assert error.value.response.status_code == 503


async def test_replay_bytes_max(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who missed more bytes than a socket may hold gets a gap."""
    alice = await site.join("alice")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    said = await alice.ask("chat.send", text="x" * 400)
    await alice.happened("chat.sent", id=said["id"])
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0)
    monkeypatch.setattr(limits, "REPLAY_BYTES_MAX", 300)
    assert (await site.join("bob", since=since)).welcome["gap"] is not None
    monkeypatch.setattr(limits, "REPLAY_BYTES_MAX", 3_000)
    assert (await site.join("bob", since=since)).welcome["gap"] is None


async def test_idempotency_key_chars_max(site: Site) -> None:
    """A key as long as is allowed, and one more character."""
    body = {"id": "t", "coins": 5, "source": "shop"}
    for extra, status in ((0, 201), (1, 400)):
        key = {"Idempotency-Key": "k" * (limits.IDEMPOTENCY_KEY_CHARS_MAX + extra)}
        assert (await site.http.post("/v1/wallets/carol/topups", json=body, headers=key)).status_code == status


# --- the table -----------------------------------------------------------------------------------------------------
HERE = ("HANDSHAKE_S_MAX", "REPLAY_BYTES_MAX", "IDEMPOTENCY_KEY_CHARS_MAX")
ELSEWHERE = {  # which test drives it: the file, and words of it that must still be there
    "COMMANDS_IN_FLIGHT_MAX": ("edge/test_session.py", "test_commands_under_way_have_a_bound"),
    "MESSAGE_BYTES_PER_COMMAND": ("edge/test_floods.py", "test_long_messages_cost_their_inflated_size"),
    "READ_TURN_S": ("edge/test_turns.py", "test_many_floods_share_a_turn"),
    "HEADS_TURN_S": ("edge/test_arrivals.py", "test_a_turn_reads_what_it_has_time_for"),
    "UNREAD_MAX": ("edge/test_arrivals.py", "test_a_long_line_turns_people_away"),
    "UNREAD_BYTES_MAX": ("edge/test_arrivals.py", "test_what_waits_has_a_bound"),
    "JOIN_TURN_S": ("edge/test_joining.py", "test_many_welcomes_take_turns"),
    "READ_FRAMES_MAX": ("edge/test_turns.py", "test_a_flood_is_read_a_slice_a_turn"),
    "EARLY_BYTES_MAX": ("edge/test_upgrade.py", "test_too_much_behind_the_request"),
    "CLOSING_BYTES_MAX": ("edge/test_turns.py", "test_nothing_is_parsed_after_a_close"),
    "DISCARDED_BYTES_MAX": ("edge/test_flooders.py", "test_what_is_dropped_has_a_bound"),
    "CLOSE_LINGER_S": ("edge/test_flooders.py", "test_a_final_close_waits_behind_data"),
    "WRITE_HIGH_BYTES": ("edge/test_large_writes.py", "test_a_peer_that_reads_nothing"),
    "WRITE_BYTES_MAX": ("edge/test_socket.py", "test_a_peer_that_reads_nothing_is_cut_off"),
    "STALLED_S_MAX": ("edge/test_socket.py", "test_a_peer_that_takes_nothing_is_late_and_a_slow_reader_is_not"),
    "REQUEST_S_MAX": ("edge/test_patience.py", "test_half_a_request_is_closed"),
    "CONNECTIONS_MAX": ("edge/test_session.py", "test_a_node_that_admits_nobody"),
    "ADDRESS_CONNECTIONS": ("edge/test_admission.py", "test_sockets_per_address"),
    "USER_CONNECTIONS": ("edge/test_admission.py", "LIVEROOM_CONNECTIONS_PER_USER"),
    "FLOOD_WAIT_S": ("edge/test_flooders.py", "test_each_flood_makes_the_wait_longer"),
    "FLOOD_WAIT_S_MAX": ("edge/test_flooders.py", "test_each_flood_makes_the_wait_longer"),
    "FLOOD_REMEMBERED_S": ("edge/test_flooders.py", "test_each_flood_makes_the_wait_longer"),
    "FLOODS_FREE_OF_ADDRESS": ("edge/test_flooders.py", "test_a_flooder_waits"),
    "BAD_FRAMES_FREE": ("edge/test_flooders.py", "test_who_is_closed_for_bad_frames_waits"),
    "FLOODERS_MAX": ("edge/test_flooders.py", "test_the_table_is_bounded"),
    "UNRESPONSIVE_S": ("edge/test_liveness.py", "test_a_silent_peer"),
    "REPLAY_EVENTS_MAX": ("edge/test_session.py", "test_resuming"),
    "REPLAYS_BYTES_MAX": ("edge/test_replays.py", "test_above_it_there_is_a_gap"),
    "REPLAYS_BYTES_PER_S": ("edge/test_replays.py", "test_what_is_sent_has_a_rate"),
    "REPLAYS_BURST_BYTES": ("edge/test_replays.py", "test_what_is_sent_has_a_rate"),
    "CROWD_MAX": ("edge/test_crowd.py", "test_both_ways_turn_people_away_alike"),
    "RETURNS_PER_S": ("edge/test_crowd.py", "test_each_has_a_time_of_its_own"),
    "RETURN_S_MIN": ("edge/test_crowd.py", "test_each_has_a_time_of_its_own"),
    "RETURN_S_MAX": ("edge/test_crowd.py", "test_each_has_a_time_of_its_own"),
    "NEWEST_CHATS_MAX": ("rooms/test_newest.py", "NEWEST_CHATS_MAX"),
    "RING_EVENTS_MAX": ("rooms/test_ring.py", "RING_EVENTS_MAX"),
    "RING_BYTES_MAX": ("rooms/test_ring.py", "RING_BYTES_MAX"),
    "LIKES_PER_USER_MAX": ("features/test_likes.py", "LIKES_PER_USER_MAX"),
    "LIKES_PER_USER_PER_S": ("features/test_likes.py", "test_likes_of_one_person_have_a_rate"),
    "LIKES_PER_USER_BURST": ("features/test_likes.py", "test_likes_of_one_person_have_a_rate"),
    "LIKERS_KEPT_MAX": ("features/test_likes.py", "LIKERS_KEPT_MAX"),
    "SHOW_QUEUE_MAX": ("features/test_gifts.py", "SHOW_QUEUE_MAX"),
    "CHAT_QUEUE_MAX": ("rooms/test_together.py", "CHAT_QUEUE_MAX"),
    "CHAT_BATCH_MAX": ("rooms/test_together.py", "CHAT_BATCH_MAX"),
    "SPEND_QUEUE_MAX": ("wallet/test_wallet_lost.py", "SPEND_QUEUE_MAX"),
    "TOPUP_COINS_MAX": ("http/test_bodies.py", "TOPUP_COINS_MAX"),
    "BALANCE_MAX": ("wallet/test_wallet.py", "BALANCE_MAX"),
    "REASON_CHARS_MAX": ("http/test_reversals.py", "REASON_CHARS_MAX"),
    "TITLE_CHARS_MAX": ("http/test_bodies.py", '"x" * 201'),
    "BODY_BYTES_MAX": ("http/test_bodies.py", "test_bodies_that_are_too_large"),
    "HEAD_BYTES_MAX": ("edge/test_patience.py", "test_a_head_without_an_end_is_refused"),
    "HEAD_LINES_MAX": ("edge/test_patience.py", "test_a_head_without_an_end_is_refused"),
    "PAGE_MAX": ("rooms/test_listing.py", "limit=501"),
    "TOKEN_TTL_S_MAX": ("http/test_bodies.py", "TOKEN_TTL_S_MAX"),
    "TOKEN_BYTES_MAX": ("test_tokens.py", "TOKEN_BYTES_MAX"),
    "STORE_PENDING_MAX": ("test_client.py", "STORE_PENDING_MAX"),
    "STORE_CALL_S_MAX": ("test_client.py", "STORE_CALL_S_MAX"),
    "BUS_SILENT_S": ("rooms/test_fanout.py", "BUS_SILENT_S"),
    "KEEP_ALIVE_S": ("edge/test_proxies.py", "KEEP_ALIVE_S"),
    "ROOM_IDLE_S": ("rooms/test_room_keeping.py", "ROOM_IDLE_S"),
    "ROOM_KEPT_S": ("rooms/test_rooms_at_scale.py", "ROOM_KEPT_S"),
    "BOARD_ROWS": ("features/test_boards.py", "BOARD_ROWS"),
    "BOARD_FIRST": ("features/test_board_windows.py", "test_who_comes_among_the_first_three"),
    "SINGLES_MAX": ("rooms/test_tally.py", "SINGLES_MAX"),
    "JOINED_SAMPLE": ("features/test_viewers.py", "JOINED_SAMPLE"),
    "PRESENCE_GONE_S": ("rooms/test_clock_set_back.py", "PRESENCE_GONE_S"),
    "COMBO_GAP_MS": ("features/test_gifts.py", "COMBO_GAP_MS"),
    "SPEND_BATCH_MAX": ("wallet/test_wallet.py", "SPEND_BATCH_MAX"),
    "SPEND_WAIT_S": ("wallet/test_wallet_lost.py", "SPEND_WAIT_S"),
    "GIFT_ID_LIFE_MS": ("wallet/test_wallet.py", "GIFT_ID_LIFE_MS"),
    "GIFT_ID_AHEAD_MS": ("wallet/test_wallet.py", "too far ahead, rich"),
    "ORDER_RECEIPT_MS": ("journal/test_moneytime.py", "ORDER_RECEIPT_MS"),
    "JOURNALED_POLLS": ("http/test_reversals.py", "JOURNALED_POLLS"),
    "AUDIT_WRONG_MAX": ("journal/test_findings.py", "AUDIT_WRONG_MAX"),
    "IDEMPOTENCY_S": ("http/test_http.py", "IDEMPOTENCY_S"),
    "BADGES_MAX": ("test_tokens.py", "BADGES_MAX"),
    "BADGE_CHARS_MAX": ("test_tokens.py", "BADGE_CHARS_MAX"),
    "EVENTS_LOOK": ("http/test_events.py", '"EVENTS_LOOK"'),
    "EVENT_TYPES_MAX": ("http/test_events.py", "EVENT_TYPES_MAX + 1"),
    "TOKENS_BATCH_MAX": ("rooms/test_revocations.py", "TOKENS_BATCH_MAX + 1"),
    "REVOCATIONS_MAX": ("rooms/test_revocations.py", '"REVOCATIONS_MAX"'),
    "PEOPLE_MAX": ("features/test_members.py", "PEOPLE_MAX"),
    "WORDS_OF_SITE_MAX": ("features/test_words.py", "WORDS_OF_SITE_MAX"),
    "WORDS_OF_HOST_MAX": ("features/test_words.py", "WORDS_OF_HOST_MAX"),
    "EMOTES_MAX": ("features/test_emotes.py", "EMOTES_MAX"),
    "EMOTES_OF_CHAT_MAX": ("rooms/test_saying.py", "EMOTES_OF_CHAT_MAX"),
    "LISTS_KEPT": ("rooms/test_catalogues.py", "LISTS_KEPT"),
    "LIST_TRIES_MAX": ("rooms/test_catalogues.py", "LIST_TRIES_MAX"),
    "OWN_HIDDEN_MAX": ("features/test_counting_scripts.py", "own_max"),
    "OWN_HIDDEN_S": ("features/test_counting_scripts.py", "own_s"),
    "REPLY_LOOK_BACK": ("features/test_chat_rules.py", "REPLY_LOOK_BACK"),
    "PAGE": ("rooms/test_listing.py", "limits.PAGE"),
    "LOOK_BACK": ("features/test_reports.py", "LOOK_BACK"),
    "HELD_MAX": ("features/test_held.py", "HELD_MAX"),
    "HELD_OF_ONE_MAX": ("features/test_held.py", "HELD_OF_ONE_MAX"),
    "HELD_MS": ("features/test_held.py", "HELD_MS"),
    "HELD_RETRY_MS": ("features/test_held.py", "HELD_RETRY_MS"),
    "DECIDED_MAX": ("features/test_held.py", "DECIDED_MAX"),
    "CLASSIFY_MS": ("rooms/test_automod.py", "CLASSIFY_MS"),
    "REPORTS_MAX": ("features/test_reports.py", "REPORTS_MAX"),
    "REPORTED_USERS_MAX": ("features/test_reports.py", "REPORTED_USERS_MAX"),
    "SHIELD_SLOW_S": ("features/test_shield.py", "SHIELD_SLOW_S"),
    "SHIELD_UNIQUE_S": ("features/test_shield.py", "SHIELD_UNIQUE_S"),
    "SHIELD_AUTOMOD": ("features/test_shield.py", "SHIELD_AUTOMOD"),
    "SHIELD_FOLLOWED_S": ("features/test_shield.py", "SHIELD_FOLLOWED_S"),
    "SHIELD_ACCOUNT_MS": ("features/test_shield.py", "SHIELD_ACCOUNT_MS"),
    "UNIX_PATH_BYTES_MAX": ("test_settings.py", "UNIX_PATH_BYTES_MAX"),
}
OURS = "how fast or how much the server does by itself; no peer can make it longer"
KERNEL = "the kernel keeps it"
COSTS = "how we share or save work; with another value it takes longer, and nothing grows"
WAITS = "how long we wait for our own stores and processes; each wait ends"
GROUPS = {  # one reason for many
    OURS: """SQL_AGAIN_S SQL_LOOK_S DEMO_AGAIN_S NEWEST_CHATS_PAGE LOOP_AGAIN_S LOOP_AGAIN_S_MAX FAILURE_LOG_S
        REAP_EVERY_S HEARTBEAT_S WHEEL_S TICK_MS_MIN LAG_EVERY_S LAG_BUCKETS_S LAG_MS_HIGH POSITION_CHECK_S
        HOUSEKEEPING_S BOARD_EVERY_MS LIKES_EVERY_MS HIDDEN_EVERY_MS VIEWERS_EVERY_MS PRESENCE_BEAT_S LISTING_S
        LISTING_SHARE SPEND_CALLS_MAX SPEND_RETRY_MS REPLAY_BATCH REFILL_TOGETHER REFILL_LOOK_S OPEN_AGAIN_S
        GUARD_EVERY_S LOG_LOOK_S FENCE_LOOK_S MONEY_TIME_S MONEY_TIME_AGREED_MS MONEY_TIME_DRIFT_MS FORGET_BATCH
        FORGET_ORDERS_BATCH CLAIMS_BATCH RETELL_AFTER_MS RETELL_UNTIL_MS CATALOGUE_EVERY_S GIVEN_BATCH GIVEN_S
        PEOPLE_BATCH PEOPLE_AGAIN_S UNTOLD_EVERY_S UNTOLD_AFTER_MS UNTOLD_BATCH REMIND_BEFORE_MS SUM_AFTER_MS
        DUE_EVERY_S DUE_BATCH RETELL_ASKED DRAIN_BATCH REVOCATIONS_AGAIN_S REVOCATIONS_OVERLAP_MS LISTS_EVERY_S
        LISTS_BATCH DRAIN_ROUNDS_MAX SQLITE_ROWS DRAIN_GARBAGE DRAIN_TURN_S DRAIN_IDLE_S DRAIN_IDLE_S_MAX LOG_TAIL
        TRIM_EVERY_S LOT_SNAPSHOT_ENTRIES FOLD_ROWS RECOVER_EVERY_S RECOVER_AFTER_MS RECOVER_UNTIL_MS RECOVER_BATCH
        AUDIT_EVERY_S AUDIT_ROWS REPAIR_SIDES REPAIR_TRIES AUDIT_WALLETS AUDIT_TOGETHER AUDIT_SCAN AUDIT_LOG
        AUDIT_LOG_NEWEST AUDIT_TURN_S AUDIT_PART_MIN AUDIT_OLD_S AUDIT_POLL_S AUDIT_FLAG_S AUDIT_RECEIPTS
        AUDIT_AGAIN_S AUDIT_AGAIN_MIN AUDIT_AGAIN_MAX AUDIT_DERIVED_MIN AUDIT_DERIVED_DAYS AUDIT_DERIVED_NOTED
        ANCHORS_BYTES_MAX AUDITS_KEPT_MS STORE_PING_S TOPOLOGY_S TOPOLOGY_ASKED SQL_VALUES_MAX SQL_OVERFLOW
        RETRY_AFTER_S RETURN_SPREAD_MS DRAIN_SPREAD_MS WORKERS_MAX RESTART_S RESTART_S_MAX""",
    COSTS: """PIECE_BYTES PIECES_KEPT DEFLATE_BYTES_MIN DEFLATE_LEVEL WRITE_LOW_BYTES FLUSH_SHARE FLUSH_SOCKET_S
        FLUSH_OWN_S FLUSH_COST_WEIGHT FLUSH_CHUNK BURST_FLUSHES BURST_S DEMAND_S DEMAND_MIN PRESENCE_BATCH
        ACCEPTS_PER_TURN REPLAYS_LOOK_S LISTING_CHUNK WAKE_BATCH FREE_CHUNKS_KEPT""",
    WAITS: """DUE_LEASE_MS REFILL_LEASE_MS REPLICATION_MS OPENING_ASK_S FENCE_GRACE_S FENCE_WAIT_S FENCE_ASK_S
        DECIDE_TRIES RECOVER_STOP_S AUDIT_WAIT_S AUDIT_STILL_S STORE_CONNECT_S STORE_AWAY_S STORE_RETRY_S
        STORE_RETRY_S_MAX TOPOLOGY_LATE_S FOLLOW_TRIES MOVED_TRIES STORES_START_S STORE_START_S STORE_STOP_S
        STORE_OTHERS_S SQL_STATEMENT_S SQL_DRAIN_S SQL_AUDIT_S SQL_MIGRATE_S SQL_LOCK_S SQL_IDLE_S SQL_SLACK_S
        SQL_PING_S SQL_FRESH_S RIGHTS_LOOK_S SQL_CONNECT_S SQL_POOL_S SQL_ANSWER_S SQL_FOLD_S DRAIN_S_MAX STOP_S_MAX
        LEFTOVERS_S_MAX READY_S USERS_LOAD_S""",
    "the store expires it": """BOARD_DAY_S BOARD_WEEK_S BOARD_ALL_S BOARD_MARKED_S ACT_REMEMBERED_S ONCE_S
        DECIDED_S REPORTS_S COMBO_COUNT_S IDEMPOTENCY_BEGUN_S""",
    "no bound, but a number that all programs must agree on": """WALLET_PARTITIONS BOOKS DAY_MS RECEIPTS_MS
        MATURITY_DAYS RECEIPT_MARGIN_MS AUDIT_REMAINDER METRICS_PORT CATALOGUE_VERSION_CHARS BASIS_POINTS""",
    "what the operator writes": """MONEY_MAX RATE_PART_MAX RATE_DAYS_MAX AGE_MAX FOLLOWERS_MAX PAYOUT_METHODS_MAX
        SUSPENSIONS_MAX SUSPENSIONS_OF_USER_MAX USERS_KEPT USERS_BATCH USERS_AGAIN_S EXPORT_ROWS USERS_END_AGAIN_MS""",
    "checked once, at the start: tests/test_settings.py": "SECRET_CHARS_MIN SECRET_LETTERS_MIN",
}
ARGUED = {
    **{name: reason for reason, names in GROUPS.items() for name in names.split()},
    "DISK_FREE_BYTES_MIN": "no peer fills our disk, and a test that does would harm others",
    "HISTORY_EVENTS_MAX": "the store's script trims the stream with each event",
    "OPEN_COMBOS_MAX": "gifts_show.lua keeps no more; a streak above it is paid and shown, and not in the snapshot",
    "PENDING_EVENTS_MAX": "events come from our bus, and above it the room is read again",
    "PATCH_TRIES_MAX": "a patch that others overtake so often gets 503 and may be repeated",
    "LIKERS_PER_TELL_MAX": "a page of our own script",
    "LOG_ENTRIES_MAX": "gifts wait for the journal above it: tests of the wallet set LIVEROOM_LOG_ENTRIES_MAX",
    "RETELL_NOTED_MAX": "entries of our own log, read again later",
    "POSITIONS_KEPT_MAX": "forgotten by our own drain",
    "LOGGED_CHARS_MAX": "cuts other programs' words",
    "LOG_LINE_BYTES_MAX": "cuts our own words",
    "FLUSH_EVENTS_MAX": OURS,
    "SNAPSHOT_MS_MAX": OURS,
    "WAKE_S_MAX": OURS,
    "SHOW_BATCH_MAX": OURS,
    "CHAT_EVERY_S": OURS,
    "TICK_MS_MAX": OURS,
    "PRESSURE_MAX": OURS,
    "DOOR_LINE_BYTES": "a longer one goes the long way: tests/edge/test_door.py",
    "KERNEL_SEND_BYTES": KERNEL,
    "KERNEL_RECEIVE_BYTES": KERNEL,
    "BACKLOG": KERNEL,
}


def named() -> set[str]:
    """Each name of limits.py, whatever it ends in."""
    return set(re.findall(r"^([A-Z][A-Z0-9_]*) = ", (ROOT / "server/limits.py").read_text(), re.MULTILINE))


def test_every_bound_is_driven_or_argued() -> None:
    """No name is forgotten, and none is listed that is gone."""
    listed = [*DRIVEN, *HERE, *ELSEWHERE, *ARGUED]
    assert len(listed) == len(set(listed))
    assert set(listed) == named()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_driven_elsewhere(name: str) -> None:
    """The test is still there."""
    path, words = ELSEWHERE[name]
    assert words in (ROOT / "tests" / path).read_text()
