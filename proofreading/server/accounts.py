"""People and their sessions, in the database of the project.

A person has a name, a role, and a password or a token or both, of which only a salted scrypt hash is kept.
A session is what a browser holds after a login: a random number, of which the database has a digest (a fast
one is enough, since the number is too long to be guessed). It ends a while after it was last used.

| role | may |
| --- | --- |
| `read` | look at everything |
| `proofread` | also answer tasks and edit |
| `admin` | also take back answers of others, and make backups |

Source: C. Percival, S. Josefsson, The scrypt password-based key derivation function, RFC 7914.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

import sqlalchemy as sql
from sqlalchemy import Column, Double, ForeignKey, Index, String, Table, Text

from agglomeration.database import Database, now
from proofreading.errors import ProofreadingError, UnknownError
from proofreading.tables import METADATA

ROLES = ("read", "proofread", "admin")
SESSION_S = 12 * 3600.0
# A session is written anew only when this much of it is gone: most requests then write nothing.
_TOUCH_S = 600.0
_SHORTEST_PASSWORD = 8
_NAME = re.compile(r"[\w.@+-]{1,64}")
# 16 MiB and some 50 ms for each guess.
_LOG_N, _R, _P = 14, 8, 1

persons = Table(
    "proofread_persons",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password", Text),
    Column("token", Text),
    Column("added", String(32), nullable=False),
)

sessions = Table(
    "proofread_sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("person", String(64), ForeignKey("proofread_persons.name", ondelete="CASCADE"), nullable=False),
    # Seconds since the epoch.
    Column("ends", Double, nullable=False),
    Index("proofread_sessions_by_person", "person"),
)


class Person(NamedTuple):
    """Who asks.

    Attributes:
      name: as in the log of edits.
      role: one of `ROLES`.
    """

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the person has the rights of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def add_person(database: Database, name: str, role: str, password: str | None = None) -> None:
    """Adds a person.

    Args:
      database: of the project.
      name: letters, digits and `. _ @ + -`, at most 64.
      role: one of `ROLES`.
      password: at least 8 characters; None = there is none.

    Raises:
      ProofreadingError: no such name, role or password, or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise ProofreadingError(f"'{name[:70]}' is no name; use 1 to 64 letters, digits and . _ @ + -")
    hashed = None if password is None else _hash_password(password)
    row = {"name": name, "role": _role(role), "password": hashed, "added": now()}
    with database.writing() as connection:
        if connection.execute(sql.select(persons).where(persons.c.name == name)).first() is not None:
            raise ProofreadingError(f"there is a person '{name}' already; change them with user change")
        connection.execute(persons.insert().values(**row))


def change_person(
    database: Database, name: str, *, role: str | None = None, password: str | None = None
) -> None:
    """Gives a person another role or password; a new password ends all sessions.

    Args:
      database: of the project.
      name: of the person.
      role: the new one; None leaves it.
      password: the new one; None leaves it.

    Raises:
      ProofreadingError: no such role or password.
      UnknownError: no such person.
    """
    changes = {} if role is None else {"role": _role(role)}
    if password is not None:
        changes["password"] = _hash_password(password)
    with database.writing() as connection:
        if changes:
            changed = connection.execute(sql.update(persons).where(persons.c.name == name).values(**changes))
            _require_one(changed.rowcount, name)
        if password is not None:
            connection.execute(sql.delete(sessions).where(sessions.c.person == name))


def remove_person(database: Database, name: str) -> None:
    """Removes a person and their sessions; what they edited stays under their name.

    Args:
      database: of the project.
      name: of the person.

    Raises:
      UnknownError: no such person.
    """
    with database.writing() as connection:
        connection.execute(sql.delete(sessions).where(sessions.c.person == name))
        _require_one(connection.execute(sql.delete(persons).where(persons.c.name == name)).rowcount, name)


def list_persons(database: Database) -> list[Person]:
    """All persons, by name."""
    with database.reading() as connection:
        rows = connection.execute(sql.select(persons.c.name, persons.c.role).order_by(persons.c.name))
        return [Person(*row) for row in rows]


def new_token(database: Database, name: str, *, ends_sessions: bool = True) -> str:
    """A token by which a person logs in without a password; the one before no longer works.

    Args:
      database: of the project.
      name: of the person.
      ends_sessions: whoever is logged in as this person is so no more.

    Raises:
      UnknownError: no such person.
    """
    token = f"{name}:{secrets.token_urlsafe(32)}"
    with database.writing() as connection:
        change = sql.update(persons).where(persons.c.name == name).values(token=_hashed(token))
        _require_one(connection.execute(change).rowcount, name)
        if ends_sessions:
            connection.execute(sql.delete(sessions).where(sessions.c.person == name))
    return token


def end_sessions(database: Database, name: str) -> int:
    """Ends all sessions of a person; gives how many there were.

    Args:
      database: of the project.
      name: of the person.

    Raises:
      UnknownError: no such person.
    """
    with database.writing() as connection:
        found = connection.execute(sql.select(persons.c.name).where(persons.c.name == name)).all()
        _require_one(len(found), name)
        return connection.execute(sql.delete(sessions).where(sessions.c.person == name)).rowcount


def check_password(database: Database, name: str, password: str) -> Person | None:
    """The person who has this name and password; None where nobody has.

    Args:
      database: of the project.
      name: of the person.
      password: to be checked. It takes the same time whether there is such a person or not.
    """
    return _checked(database, name, password, "password")


def check_token(database: Database, token: str) -> Person | None:
    """The person whose token this is; None where it is nobody's.

    Args:
      database: of the project.
      token: to be checked.
    """
    return _checked(database, token.rpartition(":")[0], token, "token")


def start_session(database: Database, person: Person, now_s: float) -> str:
    """Begins a session, and forgets those that ended.

    Args:
      database: of the project.
      person: who logged in.
      now_s: seconds since the epoch.

    Returns:
      What the browser holds.
    """
    held = secrets.token_urlsafe(32)
    row = {"digest": _digest(held), "person": person.name, "ends": now_s + SESSION_S}
    with database.writing() as connection:
        connection.execute(sql.delete(sessions).where(sessions.c.ends <= now_s))
        connection.execute(sessions.insert().values(**row))
    return held


def find_session(database: Database, held: str, now_s: float) -> Person | None:
    """Who a session is of; None for one that ended or never was. Puts its end off.

    Args:
      database: of the project.
      held: what the browser holds.
      now_s: seconds since the epoch.
    """
    digest = _digest(held)
    query = sql.select(persons.c.name, persons.c.role, sessions.c.ends).join(
        persons, persons.c.name == sessions.c.person
    )
    with database.reading() as connection:
        found = connection.execute(query.where(sessions.c.digest == digest)).first()
    if found is None or found.ends <= now_s:
        return None
    if found.ends < now_s + SESSION_S - _TOUCH_S:
        change = sql.update(sessions).where(sessions.c.digest == digest).values(ends=now_s + SESSION_S)
        with database.writing() as connection:
            connection.execute(change)
    return Person(found.name, found.role)


def end_session(database: Database, held: str) -> None:
    """Ends a session, if there is one.

    Args:
      database: of the project.
      held: what the browser holds.
    """
    with database.writing() as connection:
        connection.execute(sql.delete(sessions).where(sessions.c.digest == _digest(held)))


def _checked(database: Database, name: str, secret: str, column: str) -> Person | None:
    query = sql.select(persons.c.name, persons.c.role, persons.c[column]).where(persons.c.name == name)
    with database.reading() as connection:
        found = connection.execute(query).first()
    kept = None if found is None else found[2]
    # Where there is nothing to compare with, the work is done all the same.
    is_right = _is_hash_of(kept or _NOBODYS, secret)
    return Person(found[0], found[1]) if found is not None and kept and is_right else None


def _role(role: str) -> str:
    if role not in ROLES:
        raise ProofreadingError(f"'{role}' is no role; use one of {', '.join(ROLES)}")
    return role


def _require_one(count: int, name: str) -> None:
    if not count:
        raise UnknownError(f"there is no person '{name[:70]}'; see user list")


def _hash_password(password: str) -> str:
    if len(password) < _SHORTEST_PASSWORD:
        raise ProofreadingError(f"a password has at least {_SHORTEST_PASSWORD} characters; take a longer one")
    return _hashed(password)


def _hashed(secret: str) -> str:
    salt = secrets.token_bytes(16)
    key = _scrypt(secret, salt, _LOG_N, _R, _P)
    words = (base64.b64encode(each).decode() for each in (salt, key))
    return "$".join(("scrypt", str(_LOG_N), str(_R), str(_P), *words))


def _is_hash_of(hashed: str, secret: str) -> bool:
    _, log_n, r, p, salt, key = hashed.split("$")
    found = _scrypt(secret, base64.b64decode(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(key))


def _scrypt(secret: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    memory = 256 * r * 2**log_n
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**log_n, r=r, p=p, maxmem=memory, dklen=32)


def _digest(held: str) -> str:
    return hashlib.sha256(held.encode()).hexdigest()


_NOBODYS = "$".join(("scrypt", str(_LOG_N), str(_R), str(_P), "AAAAAAAAAAAAAAAAAAAAAA==", "A" * 43 + "="))
