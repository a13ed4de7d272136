"""The database's address: one place that reads it and hands it to both drivers in the form each takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import URL

from perron.errors import ConfigurationError

_SCHEME = re.compile(r"^(?:postgresql|postgres)(?:\+(?:asyncpg|psycopg))?://", re.IGNORECASE)
_PLACE = frozenset({"host", "port", "user", "password", "dbname"})

# asyncpg takes these in a DSN and several of them nowhere else; whatever else libpq knows (keepalives,
# channel_binding, ...) it would send to the server as a setting, and the server would refuse to connect.
_ASYNCPG_DSN = re.compile(
    "ssl(cert|crl|key|mode|negotiation|password|rootcert|_max_protocol_version|_min_protocol_version)|"
    "application_name|gsslib|krbsrvname|options|passfile|service|target_session_attrs"
)
_ESCAPES = "(in a password @ : / ? # % are written %40 %3A %2F %3F %23 %25)"


@dataclass(frozen=True)
class DatabaseUrl:
    """Where a PostgreSQL database is. What is None is left to the drivers' defaults (`PGHOST` and so on)."""

    host: str | None = None
    """Name, address or socket directory; several are separated by commas."""
    port: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """libpq's other parameters (`sslmode`, ...); they may hold a secret too (`sslpassword`)."""

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """Read `postgresql://`, `postgres://`, `postgresql+asyncpg://` or `postgresql+psycopg://`.

        Raises:
            ConfigurationError: It is something else. The message never repeats the text: it holds a password.
        """
        text = text.strip()
        scheme = _SCHEME.match(text)
        if scheme is None:
            found = re.match(r"^[\w+.-]{1,30}://", text)
            raise _refused(
                f"it begins with {found[0]!r}" if found else "it has no scheme" if text else "it is empty"
            )
        # asyncpg's and SQLAlchemy's users write ssl=require where libpq's write sslmode=require.
        rest = re.sub(r"([?&])ssl=(?!true\b)", r"\1sslmode=", text[scheme.end() :].replace(" ", "%20"))
        try:
            found_parts = conninfo_to_dict(f"postgresql://{rest}")
        except ProgrammingError as exc:
            raise _refused(_safe_reason(str(exc))) from None
        parts = {key: str(value) for key, value in found_parts.items() if value not in (None, "")}
        ports = [port or "5432" for port in parts["port"].split(",")] if "port" in parts else []
        if not all(port.isdecimal() and 0 < int(port) < 65_536 for port in ports):
            # What stands there is not shown: after `user:pa/ss@host` it would be half of a password.
            raise _refused(f"its port is no number up to 65535 {_ESCAPES}")
        return cls(
            host=parts.get("host"),
            port=",".join(ports) or None,
            user=parts.get("user"),
            password=parts.get("password"),
            database=parts.get("dbname"),
            options=tuple(sorted((key, value) for key, value in parts.items() if key not in _PLACE)),
        )

    @property
    def asyncpg(self) -> URL:
        """For SQLAlchemy's `create_async_engine`."""
        known = {key: value for key, value in self.options if _ASYNCPG_DSN.fullmatch(key)}
        dsn = {"dsn": f"postgresql://?{urlencode(known, quote_via=quote)}"} if known else {}
        return self._sqlalchemy("postgresql+asyncpg", dsn)

    @property
    def sqlalchemy_psycopg(self) -> URL:
        """For SQLAlchemy's `create_engine` on psycopg."""
        return self._sqlalchemy("postgresql+psycopg", dict(self.options))

    @property
    def psycopg(self) -> str:
        """A conninfo string for psycopg. Holds the password."""
        place = {"host": self.host, "port": self.port, "user": self.user, "dbname": self.database}
        given = {key: value for key, value in place.items() if value is not None}
        return make_conninfo("", password=self.password, **given, **dict(self.options))

    @property
    def full(self) -> str:
        """The URL as `postgresql://…`, as libpq reads it: for another process. Holds the password."""
        # Not SQLAlchemy's rendering: it writes a space as `+`, which libpq takes for a plus.
        login = quote(self.user or "", safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        host = (f"[{self.host}]" if ":" in self.host else self.host) if self.host and self._is_one_host else ""
        port = f":{self.port}" if self.port and host else ""
        place = {} if host else {"host": self.host, "port": self.port}
        query = urlencode({k: v for k, v in (place | dict(self.options)).items() if v}, quote_via=quote, safe="/")
        return (
            f"postgresql://{login}{'@' if login else ''}{host}{port}/{quote(self.database or '', safe='')}"
            f"{'?' if query else ''}{query}"
        )

    @property
    def shown(self) -> str:
        """The URL for people: without password and options."""
        return replace(self, password=None, options=()).full

    @property
    def is_socket(self) -> bool:
        """It names the directory of a Unix socket."""
        return self.host is not None and self.host.startswith("/")

    @property
    def _is_one_host(self) -> bool:
        return self.host is not None and not self.is_socket and "," not in self.host

    def on(self, database: str) -> DatabaseUrl:
        """Return the address of another database on the same server."""
        return replace(self, database=database)

    def _sqlalchemy(self, drivername: str, query: dict[str, str]) -> URL:
        if (
            not self._is_one_host
        ):  # sockets and lists of hosts stand in the query: a URL has no other place for them
            query |= {"host": self.host} if self.host else {}
            query |= {"port": self.port} if self.port else {}
        return URL.create(
            drivername,
            username=self.user,
            password=self.password,
            host=self.host if self._is_one_host else None,
            port=int(self.port) if self.port and self._is_one_host else None,
            database=self.database,
            query=query,
        )


def _safe_reason(message: str) -> str:
    """Keep of libpq's complaint only what cannot hold the password."""
    unknown = re.search(r'URI query parameter: "(\w+)"', message)
    if unknown:
        return f"PostgreSQL knows no parameter {unknown[1]!r}"
    return f"it cannot be read {_ESCAPES}"


def _refused(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The database URL does not fit: {reason}. Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
        "postgres://, postgresql+asyncpg:// and postgresql+psycopg:// are understood too."
    )
