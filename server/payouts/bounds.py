"""The bounds of payouts, each with its reason."""

NAME_CHARS_MAX = 140  # of a payee; SEPA's banks take half of it
ACCOUNT_CHARS_MAX = 64  # of an account at a service
LOOK_S = 2.0  # how often the journal process looks for payouts that are due: one short query
BATCH = 200  # payouts of one provider that are sent, or asked for, together
POLL_MS = 60_000  # after a payout was sent; doubles
POLL_MS_MAX = 3_600_000  # up to this, while it is under way
AGAIN_MS = 30_000  # until a payout that was not taken is sent again; doubles up to an hour
PAID_POLL_MS = 21_600_000  # a paid one is asked for so often,
PAID_WATCH_MS = 45 * 86_400_000  # and for so long: banks return money within weeks, PayPal after 30 days
TRIES_MAX = 20  # doublings are counted up to here
ACTS_MAX = 500  # of one payout that are shown: a life has some ten
FAN_GIFTS_MAX = 5_000  # of a creator's newest gifts that the rules look at: some 20 ms
FAN_DAYS = 30  # and none older than so many days
FRESH_MS = 600_000  # a gift so soon after a top-up is fresh money
FRESH_PERCENT = 50  # of the diamonds
FAN_PERCENT = 80
NEW_DAYS = 30  # a creator whose first gift is younger is new
VELOCITY_DAYS = 7
VELOCITY_MAX = 3  # payouts in these days
RING_MIN = 2  # fans who pay with the same instrument as each other and the creator
assert POLL_MS < POLL_MS_MAX < PAID_POLL_MS
