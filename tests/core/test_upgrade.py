import subprocess
import sys

import psycopg
import pytest

from perron.core.upgrade import check_database, upgrade_database
from perron.errors import SchemaError

# Eight processes that import once: what is tested is the database, not how long Python takes to start.
EIGHT_UPGRADES = """
import asyncio, os, sys
from perron.core.upgrade import check_database, upgrade_database

async def upgrade_and_check():
    await upgrade_database(sys.argv[1])
    await check_database(sys.argv[1])

children = []
for _ in range(8):
    child = os.fork()
    if not child:
        failed = 1
        try:
            asyncio.run(upgrade_and_check())
            failed = 0
        finally:
            os._exit(failed)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_eight_processes_at_once_on_an_empty_database_all_come_up(empty_database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_UPGRADES, empty_database],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, f"{done.returncode} of 8 failed:\n{done.stderr}"


async def test_an_upgrade_of_an_upgraded_database_changes_nothing(database_url: str) -> None:
    def state() -> list[tuple[object, ...]]:
        with psycopg.connect(database_url) as connection:
            query = (
                "SELECT oid, relname, relfilenode FROM pg_class WHERE relnamespace::regnamespace::text = ANY(%s)"
            )
            return connection.execute(query + " ORDER BY oid", [["perron", "langgraph"]]).fetchall()

    before = state()
    await upgrade_database(database_url)

    assert state() == before


async def test_tables_of_an_older_langgraph_are_refused_with_the_command(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        newest = "(SELECT max(v) FROM langgraph.checkpoint_migrations)"
        connection.execute(f"DELETE FROM langgraph.checkpoint_migrations WHERE v = {newest}")

    with pytest.raises(SchemaError, match=r"older than the installed LangGraph: run `perron db upgrade`"):
        await check_database(database_url)
    await upgrade_database(database_url)
    await check_database(database_url)
