"""The bounds of providers, each with its reason."""

ANSWER_S = 20.0  # for one request: payment services answer in seconds, and what comes later is asked for by its key
ANSWER_BYTES_MAX = 64 * 1024  # of one answer: a payout has some 2 KiB
REF_CHARS_MAX = 64  # of a provider's own id: the column's width
REASON_CHARS_MAX = 200  # of its reason: the column's width
WEBHOOK_OLD_MS = 300_000  # a signature is good so long (Stripe's figure): a copied one is not good later
BATCH_WRITTEN_MS = 600_000  # a batch that is not written by then never will be: see files.py
BATCH_MAX = 500  # payouts in one batch: a bank's file has some 400 KB, and one transaction holds its rows
RESULT_FILES_MAX = 1_000  # the newest: results of years need not be read each time
RESULT_BYTES_MAX = 8 * 1024 * 1024  # of one file: some 100,000 rows
NAME_CHARS_MAX = 32  # of a provider: the column's width
SEPA_NAME_CHARS_MAX = 70  # what SEPA's banks take of a name
SEPA_TEXT_CHARS_MAX = 140  # of unstructured remittance information
SEPA_AMOUNT_MAX = 99_999_999_999  # in cents: the most that SEPA's rulebook allows
