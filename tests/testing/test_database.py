import subprocess
import sys

import psycopg


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT schemaname || '.' || tablename FROM pg_tables").fetchall()
    return {name for (name,) in rows if not name.startswith(("pg_catalog.", "information_schema."))}


def test_a_database_for_a_test_has_all_tables_and_no_rows(database_url: str) -> None:
    assert {"perron.runs", "langgraph.checkpoints"} <= tables(database_url)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM perron.threads").fetchone() == (0,)


def test_an_empty_database_has_no_tables(empty_database: str, database_url: str) -> None:
    assert empty_database != database_url
    assert tables(empty_database) == set()


def test_the_plugin_costs_other_peoples_tests_no_import() -> None:
    heavy = "{'sqlalchemy', 'langgraph', 'langchain_core', 'psycopg', 'asyncpg', 'pydantic'}"
    script = f"import sys, perron.testing.plugin; sys.exit(str({heavy} & set(sys.modules) or ''))"

    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)

    assert done.stderr.strip() == ""
