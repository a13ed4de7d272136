import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from perron.database.url import DatabaseUrl
from perron.errors import ConfigurationError

SCHEMES = ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg", "POSTGRES"]


def arguments(url: URL) -> dict[str, object]:
    """What SQLAlchemy hands to the driver's connect()."""
    return dict(url.get_dialect()().create_connect_args(url)[1])


def asyncpg_arguments(url: DatabaseUrl) -> dict[str, object]:
    return arguments(url.asyncpg)


def psycopg_arguments(url: DatabaseUrl) -> dict[str, object]:
    return arguments(url.sqlalchemy_psycopg)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_names_the_same_database(scheme: str) -> None:
    url = DatabaseUrl.parse(f"{scheme}://ada:p%40ss@db.example:5433/desk")

    assert url == DatabaseUrl("db.example", "5433", "ada", "p@ss", "desk")
    assert asyncpg_arguments(url) == {
        "host": "db.example",
        "port": 5433,
        "user": "ada",
        "password": "p@ss",
        "database": "desk",
    }
    assert conninfo_to_dict(url.psycopg) == {
        "host": "db.example",
        "port": "5433",
        "user": "ada",
        "password": "p@ss",
        "dbname": "desk",
    }


def test_the_password_is_never_shown() -> None:
    url = DatabaseUrl.parse("postgresql://ada:canary@db.example/desk?sslpassword=canary")

    assert url.shown == "postgresql://ada@db.example/desk"
    assert "canary" not in repr(url)


@pytest.mark.parametrize("text", ["postgresql+asyncpg://u@h/d?ssl=require", "postgres://u@h/d?sslmode=require"])
def test_tls_is_asked_for_in_each_drivers_words(text: str) -> None:
    url = DatabaseUrl.parse(text)

    assert asyncpg_arguments(url)["dsn"] == "postgresql://?sslmode=require"
    assert psycopg_arguments(url)["sslmode"] == "require"


def test_what_only_libpq_knows_does_not_reach_asyncpg() -> None:
    url = DatabaseUrl.parse("postgresql://u@h/d?channel_binding=require&keepalives_idle=30&connect_timeout=5")

    assert "dsn" not in asyncpg_arguments(url)
    assert psycopg_arguments(url)["channel_binding"] == "require"


def test_a_certificate_reaches_both_drivers() -> None:
    url = DatabaseUrl.parse("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/etc/a b/root.pem")

    assert asyncpg_arguments(url)["dsn"] == (
        "postgresql://?sslmode=verify-full&sslrootcert=%2Fetc%2Fa%20b%2Froot.pem"
    )
    assert psycopg_arguments(url)["sslrootcert"] == "/etc/a b/root.pem"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+asyncpg://postgres@/desk?host=/run/my db",
        "postgresql://postgres@/desk?host=/run/my%20db",
        "postgresql://postgres@%2Frun%2Fmy%20db/desk",
    ],
)
def test_a_socket_directory_may_have_a_space(text: str) -> None:
    url = DatabaseUrl.parse(text)

    assert url.is_socket
    assert asyncpg_arguments(url)["host"] == "/run/my db"
    assert psycopg_arguments(url)["host"] == "/run/my db"
    assert url.shown == "postgresql://postgres@/desk?host=/run/my%20db"


def test_several_hosts_reach_both_drivers() -> None:
    url = DatabaseUrl.parse("postgresql://one,two:5433/desk?target_session_attrs=read-write")

    assert asyncpg_arguments(url)["host"] == ["one", "two"]
    assert asyncpg_arguments(url)["port"] == [5432, 5433]
    assert psycopg_arguments(url)["host"] == "one,two"


def test_an_ipv6_address_reaches_both_drivers() -> None:
    url = DatabaseUrl.parse("postgresql://[::1]:5433/desk")

    assert asyncpg_arguments(url)["host"] == psycopg_arguments(url)["host"] == "::1"
    assert url.full == "postgresql://[::1]:5433/desk"


def test_what_is_missing_is_left_to_the_drivers() -> None:
    assert DatabaseUrl.parse("postgresql:///") == DatabaseUrl()
    assert asyncpg_arguments(DatabaseUrl()) == {}


def test_another_database_on_the_same_server() -> None:
    url = DatabaseUrl.parse("postgresql://u:p@h/d?sslmode=require").on("other")

    assert url.full == "postgresql://u:p@h/other?sslmode=require"


PRINTABLE = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc"]), min_size=1)


@given(user=PRINTABLE, password=PRINTABLE, database=PRINTABLE)
def test_any_name_and_password_survive_a_round_trip(user: str, password: str, database: str) -> None:
    url = DatabaseUrl("db.example", "5432", user, password, database)

    assert DatabaseUrl.parse(url.full) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("canary", "it has no scheme"),
        ("host=canary dbname=x", "it has no scheme"),
        ("sqlite:///canary.db", "it begins with 'sqlite://'"),
        ("mysql+pymysql://u:canary@h/d", "it begins with 'mysql+pymysql://'"),
        ("postgresql+psycopg2://u:canary@h/d", "it begins with 'postgresql+psycopg2://'"),
        ("postgresql://u:canary%zz@h/d", "it cannot be read"),
        ("postgresql://u:can/ary@h/d", "its port is no number"),
        ("postgresql://u:canary@h:99999/d", "its port is no number up to 65535"),
        ("postgresql://u:canary@h/d?pgbouncer=true", "PostgreSQL knows no parameter 'pgbouncer'"),
    ],
)
def test_what_is_no_database_url_is_refused_in_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match="Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") as caught:
        DatabaseUrl.parse(text)

    assert reason in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
