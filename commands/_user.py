"""proofread user: who may log in at the page, and what they may do.

  proofread user add --config C --name N --role read|proofread|admin [--password_file F]
  proofread user change --config C --name N [--role R] [--password_file F]
  proofread user remove --config C --name N
  proofread user token --config C --name N
      prints a token by which the person logs in without a password; the one before no longer works
  proofread user logout --config C --name N
      ends the person's sessions, wherever they are; a server that runs notices within seconds
  proofread user list --config C

add asks for a password, unless there is a file; an empty one gives none, and the person needs a token. change
asks for one with --ask_password. A new password, a new token, or removal ends the person's sessions.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from configs import ConfigError, load_config

if TYPE_CHECKING:
    from agglomeration.database import Database

FLAGS = flags.FlagValues()
# Flags follow the word that says what to do.
FLAGS.set_gnu_getopt()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_NAME = flags.DEFINE_string("name", None, "of the person", flag_values=FLAGS)
_ROLE = flags.DEFINE_enum("role", None, ["read", "proofread", "admin"], "of the person", flag_values=FLAGS)
_FILE = flags.DEFINE_string(
    "password_file", None, "file whose first line is the password; - is standard input", flag_values=FLAGS
)
_ASK = flags.DEFINE_bool("ask_password", False, "change asks for a new password", flag_values=FLAGS)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    if len(rest) != 1 or rest[0] not in _ACTIONS:
        raise flags.Error(f"user needs one of {', '.join(_ACTIONS)}; see --help")
    action = rest[0]
    if not _CONFIG.value:
        raise flags.Error(f"user {action} needs --config; see --help")
    if action != "list" and not _NAME.value:
        raise flags.Error(f"user {action} needs --name; see --help")
    if action == "add" and not _ROLE.value:
        raise flags.Error("user add needs --role; see --help")
    config = load_config(_CONFIG.value)
    from agglomeration.database import open_database
    from agglomeration.decided_pairs import database_of
    from proofreading.migrations import bring_up_to_date

    with open_database(database_of(config), create=False) as database:
        bring_up_to_date(database)
        _ACTIONS[action](database)


def _add(database: Database) -> None:
    from proofreading.server.accounts import add_person

    add_person(database, _NAME.value, _ROLE.value, _password() or None)
    print(f"added {_NAME.value}, {_ROLE.value}")


def _change(database: Database) -> None:
    from proofreading.server.accounts import change_person

    password = _password() if _ASK.value or _FILE.value else None
    if password is None and _ROLE.value is None:
        raise flags.Error("user change needs --role, --password_file or --ask_password; see --help")
    change_person(database, _NAME.value, role=_ROLE.value, password=password)
    print(f"changed {_NAME.value}")


def _remove(database: Database) -> None:
    from proofreading.server.accounts import remove_person

    remove_person(database, _NAME.value)
    print(f"removed {_NAME.value}")


def _token(database: Database) -> None:
    from proofreading.server.accounts import new_token

    print(new_token(database, _NAME.value))


def _logout(database: Database) -> None:
    from proofreading.server.accounts import end_sessions

    print(f"ended {end_sessions(database, _NAME.value)} sessions of {_NAME.value}")


def _list(database: Database) -> None:
    from proofreading.server.accounts import list_persons

    for person in list_persons(database):
        print(f"{person.name}  {person.role}")


def _password() -> str:
    """The password from the file or, twice, from the terminal.

    Raises:
      ConfigError: the file cannot be read, or the two are not the same.
    """
    if _FILE.value == "-":
        return sys.stdin.readline().rstrip("\n")
    if _FILE.value:
        try:
            return (Path(_FILE.value).read_text("utf-8").splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read --password_file '{_FILE.value}': {error}") from error
    password = getpass.getpass(f"password of {_NAME.value}: ")
    if password and getpass.getpass("again: ") != password:
        raise ConfigError("the two passwords are not the same; try again")
    return password


_ACTIONS: dict[str, Callable[[Database], None]] = {
    "add": _add,
    "change": _change,
    "remove": _remove,
    "token": _token,
    "logout": _logout,
    "list": _list,
}
