"""The view `postings`: it makes the postings that follow from columns, and adds those that are stored.

Which ones follow from columns is said by the table of kinds. A migration writes down the view as it was then: when a
kind's legs change, a new migration makes it again, and a test says so.
"""

from sqlalchemy import Connection

from server.entries import CREATOR, KINDS, VIEWER
from server.journal.tables import legs

_COLUMNS = ", ".join(legs.columns.keys())
_SELECT = f"""
SELECT e.partition, e.epoch, e.n, made.leg, made.asset,
    CASE made.account WHEN '{VIEWER}' THEN '{VIEWER}:' || e.user_id
        WHEN '{CREATOR}' THEN '{CREATOR}:' || COALESCE(e.creator_id, '') ELSE made.account END AS account,
    made.sign * CASE made.asset WHEN 'coins' THEN e.coins ELSE e.diamonds END AS amount
FROM entries e JOIN made ON made.kind = e.kind
UNION ALL SELECT {_COLUMNS} FROM legs"""  # noqa: S608  # our own names


def definition() -> str:
    """The view's query."""
    made = ", ".join(
        f"('{kind.name}', {number}, '{leg.asset}', '{leg.account}', {leg.sign})"
        for kind in KINDS.values()
        for number, leg in enumerate(kind.legs)
    )
    return f"WITH made (kind, leg, asset, account, sign) AS (VALUES {made}){_SELECT}"


def make(connection: Connection) -> None:
    """Make the view again, whatever somebody made of it. Raises SQLAlchemyError."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW postings AS {definition()}")  # other views may read it
        return
    connection.exec_driver_sql("DROP VIEW IF EXISTS postings")
    connection.exec_driver_sql(f"CREATE VIEW postings AS {definition()}")
