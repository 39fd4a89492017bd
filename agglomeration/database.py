"""Opening the decisions database: a SQLite file beside the results, or any database by its URL.

SQLite is set to a write-ahead log, so that readers and a writer do not stop each other, checks foreign keys,
and waits for a while when another process writes. Everything else is SQL that PostgreSQL understands, too.

A database that is no database, is locked, cannot be written, or has tables of another version is refused in
one line (`DatabaseError`).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from agglomeration import tables
from agglomeration.errors import AgglomerationError

BUSY_TIMEOUT_S = 30.0
_CACHE_KIB = 256 * 1024


class DatabaseError(AgglomerationError):
    """A decisions database that cannot be opened, read or written."""


class Database:
    """An open decisions database; made by `open_database`. Close it or use it as a context manager.

    Attributes:
      name: for messages: the path, or the URL without its password.
      engine: of SQLAlchemy, for queries of one's own.
    """

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self._here = threading.local()

    @property
    def is_writing(self) -> bool:
        """Whether this thread is in a transaction that writes."""
        return bool(getattr(self._here, "writing", 0))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: kept as a whole when the block ends, not at all when it raises.

        Raises:
          DatabaseError: the database is locked, full, read-only or damaged, or a row is not allowed in it.
        """
        engine = self.engine.execution_options(writes=True)
        with self._in_one_line("write to"), engine.begin() as connection:
            self._here.writing = getattr(self._here, "writing", 0) + 1
            try:
                yield connection
            finally:
                self._here.writing -= 1

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from; with SQLite it sees one state of the database all along.

        Raises:
          DatabaseError: the database is locked or damaged.
        """
        with self._in_one_line("read"), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Release the connections. May be called twice."""
        self.engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _in_one_line(self, doing: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise DatabaseError(f"cannot {doing} decisions database {self.name}: {_cause(error)}") from error


def open_database(
    place: str | os.PathLike[str],
    *,
    create: bool = True,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    migrations: Mapping[int, Callable[[Connection], None]] = tables.MIGRATIONS,
    version: int = tables.SCHEMA_VERSION,
) -> Database:
    """Opens the database, making its tables where there are none.

    Args:
      place: path of a SQLite file, or an SQLAlchemy URL such as "postgresql+psycopg://host/name".
      create: whether a database without these tables gets them; False refuses it.
      busy_timeout_s: how long SQLite waits for another process that writes.
      migrations: by version, what brings a database from it to the next.
      version: that the database shall have in the end.

    Raises:
      DatabaseError: no such database or driver, tables of a later version, not writable, locked or damaged.
    """
    url = _url(place)
    database = Database(_name(url), _engine(url, create, busy_timeout_s))
    try:
        with database.reading() as connection:
            found = _version(connection)
        if found is None and not create:
            raise DatabaseError(f"{database.name} holds no decisions; run `run_agglomeration` first")
        if found != version:
            _bring_to(database, found, version, migrations)
    except BaseException:
        database.close()
        raise
    return database


def now() -> str:
    """The time of day, UTC, as the database stores it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _url(place: str | os.PathLike[str]) -> sql.URL:
    text = os.fspath(place)
    if "://" not in text:
        return sql.URL.create("sqlite", database=text)
    try:
        return sql.make_url(text)
    except (ArgumentError, ValueError):
        shown = re.sub("//.*@", "//***@", text)
        raise DatabaseError(
            f"'{shown}' is no database URL; write one such as postgresql+psycopg://host/name"
        ) from None


def _name(url: sql.URL) -> str:
    is_file = url.get_backend_name() == "sqlite" and url.database
    return str(url.database) if is_file else url.render_as_string(hide_password=True)


def _engine(url: sql.URL, create: bool, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return sql.create_engine(url)
        except (NoSuchModuleError, ImportError) as error:
            raise DatabaseError(
                f"no driver for database {_name(url)} ({error}); install it, e.g. psycopg for PostgreSQL"
            ) from None
    if url.database and url.database != ":memory:":
        _prepare_file(Path(url.database), create)
    engine = sql.create_engine(url, connect_args={"timeout": busy_timeout_s})

    @sql.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        # Transactions are begun below: those of the driver would leave reads outside.
        connection.isolation_level = None
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}").close()
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}").close()

    @sql.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # One that writes asks for its turn at once: having read before, it could not wait for another's end.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _prepare_file(path: Path, create: bool) -> None:
    if not create and not path.is_file():
        raise DatabaseError(f"there is no decisions database {path}; run `run_agglomeration` first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"cannot write decisions database {path}: {error.strerror}; choose another output_dir"
        ) from error


def _version(connection: Connection) -> int | None:
    """Of the tables there; None = none are."""
    if not sql.inspect(connection).has_table("schema_version"):
        return None
    return connection.execute(sql.select(sql.func.max(tables.schema_version.c.version))).scalar_one()


def _bring_to(
    database: Database,
    found: int | None,
    version: int,
    migrations: Mapping[int, Callable[[Connection], None]],
) -> None:
    """Makes the tables, or changes those of earlier versions one version after the other, each as a whole.

    Another process may have done it by the time this one gets its turn.
    """
    if found is None:
        with database.writing() as connection:
            if _version(connection) is None:
                tables.METADATA.create_all(connection)
                _note_version(connection, version)
        return
    if found > version or any(step not in migrations for step in range(found, version)):
        raise DatabaseError(
            f"decisions database {database.name} has tables of version {found}, this release knows version "
            f"{version}; use the release that wrote it, or another output_dir"
        )
    for step in range(found, version):
        with database.writing() as connection:
            if _version(connection) == step:
                migrations[step](connection)
                _note_version(connection, step + 1)


def _note_version(connection: Connection, version: int) -> None:
    connection.execute(tables.schema_version.insert().values(version=version, applied=now()))


def _cause(error: DBAPIError) -> str:
    """What went wrong and its mend, from the driver's words."""
    words = " ".join(str(error.orig).split())
    if isinstance(error, IntegrityError):
        return f"{words}; rows of another segmentation or run, or ones that are not allowed"
    mends = {
        "locked": "another process writes to it; end that one or wait",
        "readonly": "make the file and its folder writable",
        "unable to open": "make its folder readable and writable",
        "not a database": "move the file away; it is made anew",
        "malformed": "the file is damaged; restore a copy, or move it away: it is made anew",
        "full": "free some space and run again",
    }
    return next(
        (f"{words}; {mend}" for key, mend in mends.items() if key in words), f"{words}; see database.url"
    )
