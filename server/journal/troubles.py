"""Says in one sentence why the journal's database cannot be used, and whether waiting may help."""

import re
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server import limits
from server.journal.database import MIGRATIONS, SilentJournal, reading
from server.journal.tables import metadata, views


class Trouble(Struct, frozen=True):
    """What is wrong. `shown` is for everybody, `says` for the operator. If `lasts`, only a person can change it."""

    shown: str
    says: str
    lasts: bool = False


AWAY = "SQL does not answer"
MIGRATE = "start the journal process, or run `migrate`"
REFUSED = Trouble("SQL refuses us", "it refuses our user or password", lasts=True)
NO_DATABASE = Trouble("SQL has no such database", "it has no such database", lasts=True)
NO_RIGHT = Trouble("SQL refuses us a right", "our user lacks a right", lasts=True)
FOREIGN = Trouble(AWAY, "what answers there is not PostgreSQL", lasts=True)
NO_FILE = Trouble(AWAY, "the file cannot be opened or written", lasts=True)
NOT_SQLITE = Trouble(AWAY, "the file is not an SQLite database", lasts=True)
OTHER_SCHEMA = Trouble(
    "its schema is missing or older", "its schema is missing or older: start the journal process, or run `migrate`"
)

# PostgreSQL, "Error Codes". A refused connection has none, only the server's words, which may be of another language:
# then they are shown, and the process waits.
_CODES = {"28": REFUSED, "3D": NO_DATABASE, "42501": NO_RIGHT, "42P01": OTHER_SCHEMA, "42703": OTHER_SCHEMA}
_WORDS = {
    r"authentication failed|no password supplied|no pg_hba\.conf entry": REFUSED,
    r"role .* (does not exist|is not permitted)": REFUSED,
    r"database .* does not exist": NO_DATABASE,
    r"permission denied": NO_RIGHT,
    r"invalid response to SSL negotiation|expected authentication request": FOREIGN,
    r"unable to open database file|readonly database": NO_FILE,
    r"file is not a database": NOT_SQLITE,
    r"no such (table|column)": OTHER_SCHEMA,
}


def of(error: SQLAlchemyError) -> Trouble:
    """What this error says about the database."""
    if isinstance(error, SilentJournal):
        return Trouble(AWAY, str(error))
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = (str(cause).strip() or type(cause).__name__).splitlines()[0][: limits.LOGGED_CHARS_MAX]
    code = getattr(cause, "sqlstate", None) or ""
    found = _CODES.get(code) or _CODES.get(code[:2])
    if not code:
        found = next((each for pattern, each in _WORDS.items() if re.search(pattern, words)), None)
    if found is None:
        return Trouble(AWAY, words)
    return Trouble(found.shown, f"{found.says} ({words})", found.lasts)


def of_schema(engine: Engine) -> Trouble | None:
    """What is wrong with the version of the schema. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return Trouble(
                "its schema is missing", "its schema is missing: start the journal process, or run `migrate`"
            )
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    versions = sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    needed = versions[-1]
    if version == needed:
        return None
    if version is None or version in versions:
        shown = "its schema is older than this program"
        return Trouble(
            shown, f"its schema is {version}, older than {needed}: start the journal process, or run `migrate`"
        )
    shown = "its schema is newer than this program"
    return Trouble(shown, f"its schema is {version}, newer than {needed}: start the newer program", lasts=True)


def of_rights(engine: Engine, writes: Sequence[str] = ()) -> Trouble | None:
    """Whether our user may read every table and write to `writes`. Raises SQLAlchemyError."""
    if engine.dialect.name == "sqlite":
        return None
    wanted = [("SELECT", each) for each in (*metadata.tables, *views.tables)] + [("INSERT", each) for each in writes]
    with reading(engine).connect() as connection:
        for right, table in wanted:
            asked = {"table": table, "right": right}
            if not connection.execute(text("SELECT has_table_privilege(:table, :right)"), asked).scalar():
                return Trouble(NO_RIGHT.shown, f"{NO_RIGHT.says} ({right} on {table})", lasts=True)
    return None


def cannot(error: SQLAlchemyError) -> str:
    """The sentence of a command that ends with this error."""
    return f"The journal's database (LIVEROOM_JOURNAL_URL) cannot be used: {of(error).says}."
