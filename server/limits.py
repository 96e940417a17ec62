"""Every bound of the server, with its reason. A relation between two bounds is asserted below them."""

# --- the background ----------------------------------------------------------------------------------------------
LOOP_AGAIN_S = 0.1  # pause before a loop that raised begins again; doubles
LOOP_AGAIN_S_MAX = 5.0  # the longest pause; after a run of this length it is short again
FAILURE_LOG_S = 1.0  # between two tracebacks of one name: a failure of every socket must not fill the disk

# --- sockets -----------------------------------------------------------------------------------------------------
FRAME_BYTES_MAX = 16 * 1024  # a command is under 2 KiB; uWebSockets' default for one message is the same
COMMANDS_PER_FRAME_MAX = 32  # a client that batches sends a few taps; more is a flood
COMMANDS_IN_FLIGHT_MAX = 64  # per socket: commands that wait for a store
COMMANDS_PER_S = 50.0  # per socket, sustained; people and their overlays stay far below
COMMANDS_BURST = 200.0
BOT_COMMANDS_PER_S = 2_000.0  # a bot's token is made with the service key: load tests and bridges
BOT_COMMANDS_BURST = 5_000.0
MESSAGE_BYTES_PER_COMMAND = 2 * 1024  # a message of this size, packed or inflated, costs as much as a command
READ_TURN_S = 0.002  # per turn of the loop, for the frames of all sockets: as long as a chunk of a flush
HEADS_TURN_S = 0.005  # per turn of the loop, for HTTP requests and upgrades: unbounded, 6,000 at once took a second
JOIN_TURN_S = 0.005  # per turn of the loop, for welcomes: the balances of many people may come at once
READ_FRAMES_MAX = 64  # of one socket, before others get their turn: some 0.3 ms
EARLY_BYTES_MAX = 64 * 1024  # sent behind the upgrade request, before our answer: RFC 6455 asks peers to wait for it
CLOSING_BYTES_MAX = 64 * 1024  # read after our close frame, to find the peer's: so much may have been under way
WRITE_HIGH_BYTES = 64 * 1024  # above it a socket counts as not writable and gets nothing more
WRITE_LOW_BYTES = 16 * 1024  # uvloop's own default is 16 bytes by a slip: always set
WRITE_BYTES_MAX = 1024 * 1024  # only replies pile up beyond the high mark, a bot's burst of them too: more is 4002
PIECE_BYTES = 64 * 1024  # of events per write: the next write waits until the socket is writable
PIECES_KEPT = 32  # per room: sockets that read the same flush share its pieces
# A socket above the high mark that reads nothing for so long is closed with 4002. The kernel reports progress in steps
# of some 40 KB, an ASGI server after a whole piece: a reader of 4.5 KB a second is never mistaken for dead.
STALLED_S_MAX = 15.0
assert PIECE_BYTES <= WRITE_HIGH_BYTES
KERNEL_SEND_BYTES = 64 * 1024  # SO_SNDBUF: a slow reader shows early and the kernel's part is bounded
KERNEL_RECEIVE_BYTES = 64 * 1024  # SO_RCVBUF: the most that a waiting socket holds, here and in the kernel
DEFLATE_BYTES_MIN = 256  # deflating a smaller frame costs more than it saves
DEFLATE_LEVEL = 6  # 20 chats: 26 us per room and tick, to a third of the size (measured)
HANDSHAKE_S_MAX = 10.0  # from the upgrade request to the welcome
REQUEST_S_MAX = 10.0  # for a whole HTTP request, from its first byte (or the connection) to the end of its body
REAP_EVERY_S = 1.0
KEEP_ALIVE_S = 75  # an idle HTTP connection: longer than proxies keep theirs (nginx, AWS: 60 s), or requests get lost
BACKLOG = 4_096  # connections that wait to be accepted; the kernel's own bound is the same
CONNECTIONS_MAX = 50_000  # per node: some 2 KiB here and 4 KiB in the kernel each
ADDRESS_CONNECTIONS = 1_000  # per node, in production: many people of a carrier or an office share one address
ACCEPTS_PER_TURN = 16  # of the loop, which takes one from each handle of a listener: some milliseconds
CROWD_MAX = 2_000  # people who wait for their welcome, the kernel's queue with them: with more, some come back later
UNREAD_MAX = 10_000  # requests that wait for their turn to be read, some 2 s of a core: likewise
UNREAD_BYTES_MAX = 32 * 1024 * 1024  # of them: above it requests wait no longer, a head has some 500 bytes
RETURNS_PER_S = 1_000  # that many of them in each second: a third of what a node lets in
RETURN_S_MIN = 1.0
RETURN_S_MAX = 30.0  # who has to wait longer gets an earlier place
assert CROWD_MAX < BACKLOG
ADDRESS_HALF_OPEN_MAX = 1_000  # per node, without a welcome: requests under way, half handshakes, kept alive
PIPELINED_MAX = 16  # requests of one connection that wait for the answers to those before them; browsers send none
USER_CONNECTIONS = 20  # per node, in production: a person's tabs, phones and overlays
CLOSE_LINGER_S = 2.0  # for the peer to take our close frame, and to send its own, before the transport is dropped
# Read and dropped after a close, so that who only writes comes to read it: a reset would destroy it. Some 5 ms in all.
DISCARDED_BYTES_MAX = 16 * 1024 * 1024
FLOOD_WAIT_S = 5.0  # who was closed for a flood is let in again after this time; it doubles with each flood
FLOOD_WAIT_S_MAX = 300.0
FLOOD_REMEMBERED_S = 900.0  # a later flood is a first one again
FLOODS_FREE_OF_ADDRESS = 4  # before everybody behind an address has to wait: an office has one bad script
BAD_FRAMES_FREE = 4  # closes for bad frames of one person, before each counts as a flood: a client may have a fault
FLOODERS_MAX = 10_000  # people and addresses that are remembered, some 300 bytes each
assert FLOOD_WAIT_S_MAX < FLOOD_REMEMBERED_S

HEARTBEAT_S = 25
UNRESPONSIVE_S = 70  # without any data, not even a pong to our ping
WHEEL_S = 5  # how often each connection is checked: expiry and silence are noticed at most this late
assert HEARTBEAT_S * 2 + WHEEL_S < UNRESPONSIVE_S

# --- rooms -------------------------------------------------------------------------------------------------------
PEOPLE_MAX = 50_000  # per room: people who are banned, muted, ...; some 200 bytes each in every copy
PEOPLE_BATCH = 500  # per call when the room store's copy is made again: some 2 ms
PEOPLE_AGAIN_S = 60.0  # how often a node reads that copy: an aside on the bus may get lost
UNTOLD_EVERY_S = 10.0  # how often a node looks for acts of staff that their rooms have not heard of
UNTOLD_AFTER_MS = 5_000  # such an act is no longer under way
UNTOLD_BATCH = 100
REMIND_BEFORE_MS = (900_000, 60_000, 0)  # a broadcast is to begin: in time to come, to sit down, and now
SUM_AFTER_MS = 6_000  # from a broadcast's end to its summary: gifts that were under way are paid by then
DUE_EVERY_S = 1.0  # how often a node looks for work that is due: one short query
DUE_BATCH = 20
DUE_LEASE_MS = 30_000  # a node that died holds up its work so long
ACT_REMEMBERED_S = 86_400  # in the room store: a late message about an act comes once
HISTORY_EVENTS_MAX = 5_000  # per room in the room store: a minute of a very busy room, a day of a quiet one
RING_EVENTS_MAX = 2_000  # per room and node, for resumes and slow readers
RING_BYTES_MAX = 4 * 1024 * 1024
REPLAY_BYTES_MAX = RING_BYTES_MAX  # of missed events that one socket holds because no ring has them
REPLAYS_BYTES_MAX = 64 * 1024 * 1024  # of missed events per node that their sockets have not taken: above it a gap
REPLAYS_BYTES_PER_S = 32 * 1024 * 1024  # per node, once the burst is used: a twentieth of a core
REPLAYS_BURST_BYTES = 256 * 1024 * 1024  # 5,000 people who come back at once to 500 events each missed so much
REPLAYS_LOOK_S = 0.05  # how often we look which have been taken, when it is needed
assert REPLAY_BYTES_MAX * 4 < REPLAYS_BYTES_MAX < REPLAYS_BURST_BYTES
FLUSH_EVENTS_MAX = 500  # with more events, a flush does not wait for its tick: readers must not fall out of the ring
assert FLUSH_EVENTS_MAX * 2 < RING_EVENTS_MAX
REPLAY_EVENTS_MAX = 1_000  # a longer absence gets a gap and the snapshot: a newcomer reads it faster
assert REPLAY_EVENTS_MAX <= RING_EVENTS_MAX <= HISTORY_EVENTS_MAX
NEWEST_CHATS_MAX = 50  # sent to a newcomer who asks: more than a window shows
NEWEST_CHATS_PAGE = 500  # events read at once while looking back for them
FLUSH_SHARE = {"low": 0.75, "balanced": 0.6, "cheap": 0.2}  # of the loop's time, for all rooms' writes (LATENCY)
TICK_MS_MIN = {"low": 2.0, "balanced": 5.0, "cheap": 50.0}  # of who must wait: all events of a tick in one write
TICK_MS_MAX = 250.0  # the longest tick, with any number of viewers
PRESSURE_MAX = 50.0  # by how much the loop's lag may lengthen a tick: 5 ms become the longest one
BURST_FLUSHES = 3  # that a room within its share may make at once, and pay later: chance brings events together
BURST_S = 0.05  # nor more than this: a large room's burst would hold up the others
DEMAND_S = 1.0  # what rooms want is averaged over this time
DEMAND_MIN = 1e-5  # of a core: who wants less is not counted
FLUSH_OWN_S = 60e-6  # of a flush to nobody: its timer, its frames (30 - 90 us here)
FLUSH_SOCKET_S = 9e-6  # cost of a write, until this node has measured it (8.4 us, of which 7.9 are the kernel's)
FLUSH_COST_WEIGHT = 0.1  # weight of a full chunk's cost in the running mean
LAG_EVERY_S = 0.1  # how often the loop's lag is measured
LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # 20 ms is the aim of a full hall
LAG_MS_HIGH = 10.0  # above it all ticks become longer, until the loop is on time again
FLUSH_CHUNK = 250  # sockets per loop turn: unchunked, 9,000 sockets stall the loop for 114-142 ms (measured)
SNAPSHOT_MS_MAX = 1_000.0  # the age of a shared snapshot; later events are sent after it
ROOM_IDLE_S = 60.0  # an empty room leaves the node's memory and its subscription
POSITION_CHECK_S = 40.0  # catches a bus that lost messages silently (Centrifuge's figure)
HOUSEKEEPING_S = 0.25
PENDING_EVENTS_MAX = 5_000  # events of one room that wait for a missing one before it is read again
BOARD_ROWS = 10
BOARD_EVERY_MS = 1_000
BOARD_FIRST = 3  # who comes among them is an event
SINGLES_MAX = 1_000  # largest gifts of each window that a room keeps: some 100 kB
BOARD_DAY_S = 3 * 24 * 3600  # how long a day's board stays after the first gift, and a week's
BOARD_WEEK_S = 10 * 24 * 3600
BOARD_ALL_S = 40 * 24 * 3600  # the board of all time: then only the journal has it
BOARD_MARKED_S = 36 * 24 * 3600  # how long a room's boards count as whole: then they are made again from the journal
assert BOARD_MARKED_S < BOARD_ALL_S
LIKES_EVERY_MS = 1_000
HIDDEN_EVERY_MS = 1_000
LIKES_PER_USER_MAX = 100_000  # per broadcast: a like is free, the board of likers must stay sane
LIKES_PER_USER_PER_S = 50  # of each person, sustained: nobody taps faster
LIKES_PER_USER_BURST = 200
LIKERS_KEPT_MAX = 50_000  # per room and node: whose taps are counted one against the other
LIKERS_PER_TELL_MAX = 500
VIEWERS_EVERY_MS = 2_000
JOINED_SAMPLE = 5
JOINED_KEPT = 50  # of those who joined since the last event: some will have left again
PRESENCE_BEAT_S = 8.0
PRESENCE_GONE_S = 25.0  # a killed node's viewers disappear: asserted below 30 s
assert PRESENCE_BEAT_S * 2 < PRESENCE_GONE_S < 30
assert PRESENCE_BEAT_S + LOOP_AGAIN_S_MAX < PRESENCE_GONE_S
PRESENCE_BATCH = 1_000  # users per script call
COMBO_GAP_MS = 4_000  # Bilibili shows a combo for 3 s; one second more for the network
OPEN_COMBOS_MAX = 200  # per room
WORDS_OF_SITE_MAX = 10_000  # phrases: some 20 us a message, and 40 ms of a thread when they change
WORDS_OF_HOST_MAX = 1_000  # phrases of a host, for all their rooms
EMOTES_MAX = 300  # of a catalogue: what people can choose from
EMOTES_OF_CHAT_MAX = 50  # shown in a message, and as many mentions; the rest stays text
LISTS_EVERY_S = 2.0  # how often a node asks SQL for changed word lists and emotes: one short query
LISTS_BATCH = 100
LIST_TRIES_MAX = 5  # for a change, when others change other lists at the same time
LISTS_KEPT = 10_000  # lists of hosts and rooms in a node's memory; most are empty
OWN_HIDDEN_MAX = 50  # a hidden person's own messages: as many as newcomers get of all
OWN_HIDDEN_S = 86_400  # and for how long
REPLY_LOOK_BACK = 1_000  # how many events a message may be old that somebody replies to
LOOK_BACK = 1_000  # events: what somebody pins or reports may be so old
HELD_MAX = 500  # held messages of a room: more than staff reads in their five minutes
HELD_OF_ONE_MAX = 3  # of one person, who then waits for staff
HELD_MS = 5 * 60_000  # then nobody will look at it
DECIDED_MAX = 5_000  # decisions that the room store remembers: some 1 MB
HELD_RETRY_MS = 10_000  # staff needs some time
DECIDED_S = 900  # how long the room store remembers who decided about a held message
CLASSIFY_MS = 5  # later than this, a message is held or passed unclassified
REPORTS_MAX = 1_000  # people whose report of one message is counted
REPORTS_S = 86_400  # after its first report; nobody acts on older ones
REPORTED_USERS_MAX = 10_000  # per broadcast, whose reports are counted: some 0.5 MB
SHIELD_SLOW_S = 30  # the shield's own settings: a person is heard twice a minute,
SHIELD_UNIQUE_S = 60  # says nothing twice,
SHIELD_AUTOMOD = 3  # and what may be bad waits for staff
SHIELD_FOLLOWED_S = 600  # followers of this attack are new
SHIELD_ACCOUNT_MS = 86_400_000  # and so are accounts of today
CHAT_BATCH_MAX = 50  # messages of a room in one script call: some 1 ms of the store
CHAT_EVERY_S = 0.002  # between two such calls of a room: each costs more than a message, and nobody sees 2 ms
CHAT_QUEUE_MAX = 5_000  # messages of a room that wait while the store does not answer; above it they are refused
SHOW_BATCH_MAX = 50  # paid gifts that one script call shows in a room: some 1 ms of the store
SHOW_QUEUE_MAX = 1_000  # per room, while the store does not answer; above it the journal shows them from the ledger
LISTING_S = 1.0  # the list of rooms is so old, or older if reading it takes more than ...
LISTING_SHARE = 0.1  # ... this part of the time: 50,000 rooms are read every ten seconds or so
LISTING_CHUNK = 200  # rooms per reading: some 4 ms of the loop
TITLE_CHARS_MAX = 200
LETTERS_KEPT = 4_096  # whose place in a text is remembered: more than anybody's languages and emoji use
FILTERS_KEPT = 1_024  # rooms' lists of blocked words, folded for comparison
WAKE_BATCH = 1_000  # rooms that wake at a time when a node connects to a new store: some 20 ms
WAKE_S_MAX = 60.0  # for all of them: a million take some 20 s
ROOM_KEPT_S = 7 * 86_400  # a room's history, board and likers after its broadcast; its seq and totals stay

# --- money -------------------------------------------------------------------------------------------------------
WALLET_PARTITIONS = 64  # never changes: a viewer's partition is a hash modulo this
BOOKS = WALLET_PARTITIONS  # the partition behind them, which SQL alone writes
SPEND_BATCH_MAX = 100  # gifts per script call: some 1 ms of the store's time
SPEND_CALLS_MAX = 2  # in flight: the store works on one while we build the next (with one: half the gifts, measured)
SPEND_QUEUE_MAX = 5_000  # gifts that wait on a node; above it `wallet_unavailable` at once
SPEND_WAIT_S = 5.0  # after this the sender gets that the outcome is unknown
assert SPEND_WAIT_S * 1000 < SUM_AFTER_MS
SPEND_RETRY_MS = 1_000
TOPUP_COINS_MAX = 100_000_000
DAY_MS = 86_400_000
REPLAY_BATCH = 200  # journal rows per script call when a store is restored from the journal
REFILL_TOGETHER = 8  # partitions that a node fills at once: another node takes others meanwhile
REFILL_LEASE_MS = 15_000  # a node that died holds up its partitions so long; each batch renews it
REFILL_LOOK_S = 0.2  # when a partition waits for another node, or for SQL
OPEN_AGAIN_S = 10.0  # when it waits for a person: a look costs a few short calls
GUARD_EVERY_S = 30.0  # a setting of the store may be changed while it runs
LOG_LOOK_S = 1.0
LOG_ENTRIES_MAX = 2_000_000  # in the store, all partitions: some 1.5 GB; above it gifts wait for the journal
DISK_FREE_BYTES_MIN = 256 * 1024 * 1024  # on the wallet store's disk, if the store is embedded
REPLICATION_MS = 1_000  # WAIT: a replica that has not answered by then leaves the outcome unknown
OPENING_ASK_S = 1.5  # per question to SQL, for a store that can be opened without an answer
FENCE_GRACE_S = 10  # nodes acknowledge so long after the journal has confirmed their store
FENCE_WAIT_S = 11.0  # everybody who takes over waits so long: clocks of two machines differ by less than a tenth
FENCE_LOOK_S = 2.0  # between two confirmations
FENCE_ASK_S = 3.0  # one that takes longer is given up, and the next one asks
assert FENCE_GRACE_S < FENCE_WAIT_S
assert 2 * (FENCE_LOOK_S + FENCE_ASK_S) <= FENCE_GRACE_S
BALANCE_MAX = 2**52  # exact in Lua's doubles, with room for additions
GIFT_ID_LIFE_MS = 2 * 3600 * 1000  # an older id is refused, so its receipt may be forgotten
GIFT_ID_AHEAD_MS = 10 * 60 * 1000  # a sender's clock may be this much ahead
RECEIPTS_MS = 10 * 60 * 1000  # of ids whose receipts are one hash: some 9,400 at 1,000 gifts/s. Never change it
RECEIPT_MARGIN_MS = 10 * 60 * 1000  # receipts outlive their ids by it: an answer may have been lost at the last moment
ORDER_RECEIPT_MS = 30 * DAY_MS  # in the store; the journal's unique key is the permanent authority
MONEY_TIME_S = 10.0  # how often money time moves: 64 short writes of the store
MONEY_TIME_AGREED_MS = 10 * 60 * 1000  # wall clocks and uptime, before money time believes how long a machine was off
MONEY_TIME_DRIFT_MS = 2_000  # of a wall clock between two steps; more is a jump
FORGET_BATCH = 50  # hashes of receipts per partition and step
FORGET_ORDERS_BATCH = 500  # receipts of orders per table and step
CLAIMS_BATCH = 10_000  # claims per step of money time that a store gets back after it was filled: some 0.2 s
COMBO_COUNT_S = 60
ONCE_S = 24 * 3600  # how long the room store remembers which gifts a room has shown
assert ONCE_S < ROOM_KEPT_S
RETELL_AFTER_MS = 2_000  # the node that took the gift shows it; after this time the journal does
RETELL_UNTIL_MS = (ONCE_S - 3600) * 1000  # after that nobody knows whether it was shown
assert RETELL_UNTIL_MS < ONCE_S * 1000
RETELL_NOTED_MAX = 2_000  # entries per partition that wait in memory for RETELL_AFTER_MS: some 300 bytes each
RETELL_ASKED = 500  # once-keys per MGET: more would hold up the room store
GIVEN_BATCH = 1_000  # rows read at once when a room counts its gifts again
GIVEN_S = 60.0  # and how long that may take: it is a task of its own, and nobody waits for it
DRAIN_BATCH = 500  # entries per partition and transaction: of a backlog 32,000, which SQLite writes in 0.4 - 0.55 s
POSITIONS_KEPT_MAX = 100_000  # balances that the drain begins with, 64,000 more per round: some 200 bytes each
DRAIN_ROUNDS_MAX = 8  # transactions before it does its other work: forget positions, retell gifts, trim the log
# Per statement on SQLite, which takes 32,766 parameters. A row of seven columns costs 0.7 us instead of 1.15, and the
# thread that prepares the next round is interrupted less often.
SQLITE_ROWS = 512
DRAIN_GARBAGE = 1_000_000  # tuples and lists made between two garbage collections: most live for a round
DRAIN_TURN_S = 0.0002  # switch interval of threads, when the one that writes to SQL waits
DRAIN_IDLE_S = 0.05
DRAIN_IDLE_S_MAX = 0.25
LOG_TAIL = 10_000  # journaled entries that stay in the wallet store per partition: some 700 bytes each
assert LOG_TAIL * WALLET_PARTITIONS < LOG_ENTRIES_MAX
TRIM_EVERY_S = 5.0

JOURNALED_POLLS = 200  # a chargeback waits 10 s for the journal, then says that it is not yet done
LOT_SNAPSHOT_ENTRIES = 1_000  # of a wallet, new since its lots were kept: they take some 10 ms to fold
FOLD_ROWS = 10_000  # entries of a wallet that are in memory at a time
DECIDE_TRIES = 5  # rounds of a chargeback with refunds that come in between
REASON_CHARS_MAX = 200
RECOVER_EVERY_S = 10.0  # pending orders are looked for: two short queries
RECOVER_AFTER_MS = 20_000  # nobody works on an order of this age any longer; at most it waits for the journal
RECOVER_UNTIL_MS = ORDER_RECEIPT_MS - DAY_MS  # later the store may have carried it out and forgotten it
RECOVER_STOP_S = 1.0  # a stopping node finishes its current order, unless that waits for the journal
RECOVER_BATCH = 100  # orders of a kind and round
MATURITY_DAYS = 7  # of gifts whose terms do not say: most chargebacks for fraud come sooner
MONEY_MAX = 10**12  # minor units in one amount: exact in JSON, and so is what is computed with basis points
BASIS_POINTS = 10_000  # in one
assert MONEY_MAX * BASIS_POINTS < 2**63
RATE_PART_MAX = 1_000_000  # of a fraction in a rate card
RATE_DAYS_MAX = 366
AGE_MAX = 150
FOLLOWERS_MAX = 10**10
PAYOUT_METHODS_MAX = 16  # of one person
SUSPENSIONS_MAX = 200_000  # in force on a site: every node keeps them all, some 400 bytes each
SUSPENSIONS_OF_USER_MAX = 200  # that are kept in all
USERS_KEPT = 100_000  # regions of hosts in a node's memory
USERS_AGAIN_S = 5.0  # how often a node asks SQL for changed people: what the bus says may get lost
assert USERS_AGAIN_S < 30
USERS_BATCH = 1_000
USERS_LOAD_S = 1.0  # a room that opens waits so long for its host's region
EXPORT_ROWS = 1_000  # of a person, read or erased at a time
USERS_END_AGAIN_MS = 5_000  # a suspended host's rooms are looked at again: one may have begun at the same moment
AUDIT_EVERY_S = 60.0
RIGHTS_LOOK_S = 10.0  # some 25 questions to each primary
AUDIT_WRONG_MAX = 20  # findings: the first few say enough
AUDIT_ROWS = 1_000  # read at a time while a chain is recomputed
REPAIR_SIDES = 5  # findings of a partition that are shown with both sides
REPAIR_TRIES = 20  # pages of a backup that are tried for the changed rows of one partition
AUDIT_WALLETS = 1_000  # of a partition in one script, which takes some 2 ms
AUDIT_TOGETHER = 8  # partitions in one transaction: it keeps old rows of a whole database while it is open
AUDIT_SCAN = 1_000  # keys per SCAN: some 0.3 ms of the store
AUDIT_LOG = 500  # entries of a log at a time, some 350 KB
AUDIT_LOG_NEWEST = 10  # of each log in every audit: a store that forked shows there
AUDIT_TURN_S = 900.0  # in which all wallets, counters and keys are compared: at 1 M wallets 2 % of a core
AUDIT_PART_MIN = 100  # per partition and audit: what is new makes no turn longer
# All was compared at most so long ago, or the audit is not ok: two turns, because what was compared first in one turn
# may be the last in the next, and ten audits that could not compare it.
AUDIT_OLD_S = 2 * AUDIT_TURN_S + 10 * AUDIT_EVERY_S
AUDIT_WAIT_S = 10.0  # for the journal to reach what was read of the store: a drain of a backlog takes 0.5 s a round
AUDIT_STILL_S = 3.0  # less when it does not move at all: nobody drains
AUDIT_POLL_S = 0.05
AUDIT_FLAG_S = 1.0  # then a partition's two marks of being frozen are looked at again: a thaw sets them one by one
AUDIT_RECEIPTS = 20_000  # per audit, of those that the keys' turn meets: 100 us each would be 2 s
assert AUDIT_FLAG_S > 2 * DRAIN_IDLE_S_MAX
AUDIT_REMAINDER = 1_000_000_007  # balances and times are summed by it, within 64 bits; a prime: round numbers show
AUDIT_AGAIN_S = 86_400.0  # in which every row below a verified head is verified again
AUDIT_AGAIN_MIN = 100  # rows per audit: a small journal has its turn in minutes
AUDIT_AGAIN_MAX = 20_000  # a larger journal than 28 M rows takes longer, and the report says since when
AUDIT_DERIVED_MIN = 100  # days of creators, and wallets with reversals, per audit: some 20 ms
AUDIT_DERIVED_DAYS = 500  # days that new entries touch, per audit; one of AUDIT_AGAIN_MAX gifts has its turn in a day
AUDIT_DERIVED_NOTED = 100_000  # of these, and of wallets, that are in memory: some 200 bytes each
ANCHORS_BYTES_MAX = 64 * 1024 * 1024  # of one file of anchors: a month of them or more; the one before is kept, too
AUDITS_KEPT_MS = 7 * 86_400_000

# --- stores ------------------------------------------------------------------------------------------------------
STORE_CALL_S_MAX = 5.0  # an unanswered call: the connection is dropped, its outcome unknown
assert 2 * OPENING_ASK_S < STORE_CALL_S_MAX
assert STORE_CALL_S_MAX + JOURNALED_POLLS * DRAIN_IDLE_S < RECOVER_AFTER_MS / 1000
STORE_PING_S = 1.0  # how often a silent connection is pinged
BUS_SILENT_S = 3.0  # the bus only listens. Shorter than a join waits for it, so that the join gets a new link
assert STORE_PING_S + BUS_SILENT_S < STORE_CALL_S_MAX
STORE_CONNECT_S = 2.0
STORE_AWAY_S = 3.0  # a store that is away for so long is worth a warning
STORE_RETRY_S = 0.05  # first pause before connecting again; doubles
STORE_RETRY_S_MAX = 1.0
TOPOLOGY_S = 30.0  # how often a cluster's map is read as a routine
TOPOLOGY_ASKED = 7  # nodes each time: more than can be cut off together, and few connections
TOPOLOGY_LATE_S = 0.25  # for the others, once one has answered: the map is needed most while hosts are dead
FOLLOW_TRIES = 40  # 2 s in all: a slot's move takes less than one; it does not wait for a failover
MOVED_TRIES = 40  # some 40 s in all: a failover takes a few, and the sender of a gift waits less
STORE_PENDING_MAX = 100_000  # calls under way on one connection
STORES_START_S = 5.0  # a node that starts waits so long for its stores, and then goes on without those that are away
STORE_START_S = 20.0  # a large append-only file takes its time to load
DEMO_AGAIN_S = 1.0  # in development, while a store is away
STORE_STOP_S = 3.0
STORE_OTHERS_S = 2.0  # for a cluster's other primaries, once one is up: a dead one must not hold up a start

# --- SQL ---------------------------------------------------------------------------------------------------------
# On PostgreSQL each transaction sets them; SQLite has a bound on its one lock (`busy_timeout`) and no server to stop.
SQL_STATEMENT_S = 5.0  # a request's statement reads some rows by an index
SQL_DRAIN_S = 30.0  # a round of the drain writes 32,000 entries in 0.6 s; a database this slow is broken
SQL_AUDIT_S = 600.0  # a statement of the audit looks at a whole partition
SQL_MIGRATE_S = 3600.0  # a migration may rewrite a table, and other processes wait for it
SQL_LOCK_S = 3.0  # for a lock: a person waits for the answer, and may ask again by the same id
SQL_IDLE_S = 60.0  # a transaction that its process forgot, or whose process disappeared silently
SQL_SLACK_S = 1.0  # the server reports the timeout first; after this the client stops waiting
SQL_PING_S = 2.0  # the pool pings a connection before it hands it out, and each transaction begins
SQL_FRESH_S = 1.0  # without a ping, if the server has answered on it so lately
SQL_CONNECT_S = 3  # psycopg takes whole seconds, 2 at least
SQL_POOL_S = 5.0  # wait for a connection of the pool
SQL_OVERFLOW = 10  # connections beyond the five that stay
SQL_ANSWER_S = 10.0  # the most that an endpoint waits in all: for a ping, a connection, a lock
assert SQL_PING_S + SQL_CONNECT_S + SQL_LOCK_S < SQL_ANSWER_S
assert SQL_ANSWER_S < REFILL_LEASE_MS / 1000
SQL_AGAIN_S = 1.0  # a journal process that starts asks so often for a database that is away
SQL_LOOK_S = 3.0  # a node asks so often for a database that cannot be used; what lasts longer is said
SQL_FOLD_S = 60.0  # to fold all entries of a wallet in Python, when no snapshot of its lots is kept
SQL_VALUES_MAX = 500  # of an IN list

# --- http --------------------------------------------------------------------------------------------------------
BODY_BYTES_MAX = 64 * 1024
HEAD_BYTES_MAX = 16 * 1024  # a token has 4 KiB at most; nginx and Apache take 8 KiB a line
DOOR_LINE_BYTES = 8_000  # of a header in an ordinary upgrade; the long way refuses more than 8,192 (websockets' bound)
HEAD_LINES_MAX = 100  # Apache's default, too
IDEMPOTENCY_S = 86_400
IDEMPOTENCY_BEGUN_S = 60  # the key of a request is free again this long after its node died
IDEMPOTENCY_KEY_CHARS_MAX = 200
BADGES_MAX = 8  # per person, in the token: shown beside the name
BADGE_CHARS_MAX = 32
TOKEN_TTL_S_MAX = 30 * 86_400
TOKEN_BYTES_MAX = 4_096
TOKENS_BATCH_MAX = 100  # in one request: their bodies are below BODY_BYTES_MAX, and signing them takes 2 ms
REVOCATIONS_MAX = 200_000  # per site; some 150 bytes each in every node
REVOCATIONS_AGAIN_S = 5.0  # how often a node looks for new ones in SQL: what the bus says may get lost
REVOCATIONS_OVERLAP_MS = 600_000  # it looks back so far: for clocks that differ, and slow transactions
CATALOGUE_EVERY_S = 5.0  # a stat of the file: so soon all nodes that have a new file sell by it
CATALOGUE_VERSION_CHARS = 12  # hexadecimal, 48 bits: also exact as a metric
PAGE = 100  # of what is listed, unless `limit` says otherwise
PAGE_MAX = 500
EVENTS_LOOK = 1_000  # of a history, for a page of some types only: some 500 KB
EVENT_TYPES_MAX = 20  # that a page may ask for
PATCH_TRIES_MAX = 5  # when somebody else changes the same room at the same time
RETRY_AFTER_S = 5

LOGGED_CHARS_MAX = 300  # of another program's error message in our log
LOG_LINE_BYTES_MAX = 64 * 1024  # a traceback; a longer line is cut

# --- processes ---------------------------------------------------------------------------------------------------
# Freed memory chunks that our children keep, per size and thread. A call of 100 gifts frees thousands of one size. A
# gift costs the wallet store 32 us with glibc's own 7, 29 with 1,000, 25 - 27 with 4,000, and no less with 8,000.
FREE_CHUNKS_KEPT = 4_000
METRICS_PORT = 9464  # of the journal process: where OpenTelemetry's exporters for Prometheus listen
WORKERS_MAX = 64  # nodes that one supervisor starts: more cores than that are several machines
RETURN_SPREAD_MS = 10_000  # and so do those of a room that starts again: 1 ms each, at most so long
DRAIN_SPREAD_MS = 2_000  # a stopping node asks its viewers to reconnect, spread over this time
DRAIN_S_MAX = 2.5  # to stop a node
STOP_S_MAX = 4.5  # to stop everything: `make run` promises 5 s
assert DRAIN_S_MAX < STOP_S_MAX
LEFTOVERS_S_MAX = 2 * STOP_S_MAX  # after the supervisor was killed, its children end on their own, one after the other
RESTART_S = 0.1  # pause before a dead child is started again; doubles up to the next
RESTART_S_MAX = 5.0
READY_S = 20.0
SECRET_CHARS_MIN = 32  # RFC 7518, section 3.2: an HS256 key of at least 256 bits
SECRET_LETTERS_MIN = 8  # different characters; of 32 random hexadecimal digits fewer differ once in 10^7
UNIX_PATH_BYTES_MAX = 100  # sun_path holds 108
