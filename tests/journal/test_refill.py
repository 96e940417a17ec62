"""What the store lost is put back from the journal: fast, by one node at a time, and only from rows that are right."""

from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from server.journal.opening import rows_between
from tests.site import Site


def plan_of(site: Site) -> str:
    """How the database finds the rows of a refill, even if its tables are small."""
    dialect = sqlite.dialect() if site.node.engine.dialect.name == "sqlite" else postgresql.dialect()
    query = str(rows_between(3, (1, 5), (4, 7)).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    with site.node.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            return str(connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        return str(connection.execute(text(f"EXPLAIN {query}")).all())


async def test_a_refill_searches_the_primary_key(site: Site) -> None:
    """The database goes to the first row that is missing, and does not read the epoch from its beginning."""
    plan = plan_of(site)
    assert "(epoch,n)>" in plan or "ROW(epoch, n) >" in plan, plan
