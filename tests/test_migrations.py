"""The distribution `perron_migrations`: from the checkout, as Alembic is used, and as a wheel."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

import perron_migrations
from perron.database.url import DatabaseUrl
from perron_migrations.history import revisions

ROOT = Path(__file__).parent.parent
PACKAGE = Path(str(perron_migrations.__file__)).parent


def alembic_config(url: str, *, scripts: Path | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts) if scripts else "perron_migrations:")
    config.set_main_option("sqlalchemy.url", DatabaseUrl.parse(url).full.replace("%", "%%"))
    return config


def tables(url: str, schema: str = "perron") -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        return {str(name) for (name,) in found}


def functions(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'perron'::regnamespace")
        return {str(name) for (name,) in found}


def checkout(code: str, **environment: str) -> str:
    """Run Python from the root of the checkout, where Alembic finds its options in pyproject.toml."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PERRON_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_one_head_and_the_history_agrees_with_alembic() -> None:
    script = ScriptDirectory.from_config(alembic_config("postgresql:///unused"))

    assert script.get_heads() == [revisions()[-1]]
    assert [revision.revision for revision in script.walk_revisions()] == list(reversed(revisions()))


def test_up_and_down_and_up_again(empty_database: str) -> None:
    config = alembic_config(empty_database)

    command.upgrade(config, "head")
    made = tables(empty_database), functions(empty_database)
    command.downgrade(config, "base")
    left = tables(empty_database), functions(empty_database)
    command.upgrade(config, "head")

    assert {"threads", "runs", "run_events", "calls"} <= made[0]
    assert {"fence", "fence_apply", "fence_thread"} <= made[1]
    assert left == ({"alembic_version"}, set())
    assert (tables(empty_database), functions(empty_database)) == made


def test_an_upgraded_database_has_no_diff(database_url: str) -> None:
    command.check(alembic_config(database_url))


def test_a_column_that_no_model_has_is_a_diff(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE perron.runs ADD COLUMN stray text DEFAULT 'x'")

    with pytest.raises(CommandError, match="stray"):
        command.check(alembic_config(database_url))


def test_autogenerate_writes_a_revision_that_changes_what_differs_and_nothing_else(
    database_url: str, tmp_path: Path
) -> None:
    scripts = tmp_path / "scripts"
    shutil.copytree(PACKAGE, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE perron.runs DROP COLUMN agent_version")

    command.revision(alembic_config(database_url, scripts=scripts), "Name the version", autogenerate=True)

    (made,) = set(scripts.glob("versions/*_name_the_version.py"))
    changes = [line.strip() for line in made.read_text().splitlines() if line.strip().startswith("op.")]
    assert changes == [
        """op.execute("SET LOCAL lock_timeout = '5s'")  # rather fail than make every run wait behind this""",
        "op.add_column('runs', sa.Column('agent_version', sa.Text(), nullable=True), schema='perron')",
        """op.execute("SET LOCAL lock_timeout = '5s'")""",
        "op.drop_column('runs', 'agent_version', schema='perron')",
    ]


def test_the_commands_work_from_the_checkout(empty_database: str) -> None:
    code = """
from alembic.config import main
for line in ("upgrade head", "downgrade -1", "current"):
    main(line.split())
"""
    printed = checkout(code, PERRON_DATABASE_URL=empty_database)

    assert printed.split() == [revisions()[-2]]


def test_without_a_url_the_commands_use_the_embedded_server(tmp_path: Path) -> None:
    code = "from alembic.config import main; main(['upgrade', 'head']); main(['current'])"

    printed = checkout(code, PERRON_HOME=str(tmp_path))

    assert printed.split() == [revisions()[-1], "(head)"]
    assert (tmp_path / "postgres").is_dir()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the two wheels, and from this one all that they depend on."""
    directory = tmp_path_factory.mktemp("wheels")
    for distribution in ("platform", "migrations"):
        uv("build", "--wheel", "--quiet", "--out-dir", str(directory), str(ROOT / distribution))
    python = directory / "environment" / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, str(python.parent.parent))
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    # Its .pth files are not read there: our own editable packages stay out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    wheels = [str(wheel) for wheel in directory.glob("*.whl")]
    uv("pip", "install", "--quiet", "--no-deps", "--no-index", "--python", str(python), *wheels)
    return python


def uv(*arguments: str) -> None:
    # Offline: what building takes was there when this environment was made. With the network if the cache is gone.
    for options in (["--offline"], []):
        done = subprocess.run(
            ["uv", *arguments, *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            return
    pytest.fail(done.stderr)


def test_installed_wheels_upgrade_a_database_outside_the_checkout(
    installed: Path, empty_database: str, tmp_path: Path
) -> None:
    code = f"""
import asyncio, perron, perron_migrations
from perron.core.upgrade import check_database, upgrade_database
asyncio.run(upgrade_database({empty_database!r}))
asyncio.run(check_database({empty_database!r}))
print(perron.__file__, perron_migrations.__file__)
"""
    done = subprocess.run(
        [installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    environment = str(installed.parent.parent)
    assert [path.startswith(environment) for path in done.stdout.split()] == [True, True]
    assert {"runs", "threads"} <= tables(empty_database)
