"""Where values come from: the environment, files that it names, the accounts file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from payouts.settings.groups import variable_of
from payouts.settings.kinds import NAME_PATTERN

FILE_SUFFIX: Final = "_FILE"
MAX_FILE_BYTES: Final = 1024 * 1024
MAX_DOTS: Final = 64  # In one line of the accounts file: a key with more parts takes ages to read.
LARGEST: Final = 10**18
_LONG_DIGITS: Final = re.compile(r"[0-9]{9}")
_PLACE: Final = re.compile(r"\(at [a-z0-9, ]+\)$")
_NAMES_KEYS: Final = ("Cannot declare", "Cannot mutate", "Duplicate")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one variable."""

    variable: str
    text: str

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"{self.variable}: {self.text}"


@dataclass(frozen=True, slots=True)
class Values:
    """Texts by field name, and what was wrong on the way to them."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)  # Fields that were given, but not readably.

    def refuse(self, name: str, label: str, text: str) -> None:
        """Note that a field was given in a way that yields no value."""
        self.unreadable.add(name)
        self.problems.append(Problem(label, text))


class Given(PydanticBaseSettingsSource):
    """Hands in values that were read before; nothing else is asked, not even `os.environ`."""

    def __init__(self, settings: type[BaseSettings], values: Mapping[str, object]) -> None:
        super().__init__(settings)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one field, its name, and that it is not to be decoded."""
        del field
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values."""
        return dict(self._values)


def read_variables(environ: Mapping[str, str], names: Iterable[str]) -> Values:
    """Return what the environment says about these fields; an empty text is none.

    Each variable X may instead be given as X_FILE, a path whose content is the value; one line
    end at the end of the file is not part of it.
    """
    values = Values()
    for name in names:
        variable = variable_of(name)
        _take(values, name, variable, environ.get(variable), environ.get(variable + FILE_SUFFIX))
    return values


def read_table(table: Mapping[str, object], names: Iterable[str], where: str) -> Values:
    """Return what an account's table says about these fields.

    Names are the variables' in lower case, with or without `payouts_`; `…_file` works as well.
    """
    values = Values()
    known = {key: name for name in names for key in _keys_of(name)}
    texts: dict[str, str] = {}
    for key, value in table.items():
        label = f"{where} {shown(key)}"
        if key not in known:
            values.problems.append(Problem(label, "is not a setting of an account"))
        elif isinstance(value, int) and abs(value) >= LARGEST:
            values.refuse(known[key], label, "must be a smaller number")
        elif isinstance(value, str | int | float):
            texts[key] = str(value).lower() if isinstance(value, bool) else str(value)
        else:
            values.refuse(known[key], label, "must be a text, a number or a boolean")
    for name in sorted(set(known.values())):
        plain, prefixed, plain_file, prefixed_file = _keys_of(name)
        if plain in texts and prefixed in texts:
            values.refuse(name, f"{where} {plain}", "is given twice")
            continue
        given = texts.get(plain, texts.get(prefixed))
        path = texts.get(plain_file, texts.get(prefixed_file))
        _take(values, name, f"{where} {plain}", given, path)
    return values


def read_tables(environ: Mapping[str, str], variable: str) -> Values | dict[str, dict[str, object]]:
    """Return the tables of the accounts file by name; the problems if it cannot be read."""
    path = environ.get(variable, "")
    values = Values()
    try:
        found = _toml(_content(Path(path)))
    except _UnreadableError as error:
        values.problems.append(Problem(variable, str(error)))
        return values
    for key, table in found.items():
        if not isinstance(table, dict):
            values.problems.append(
                Problem(f"{variable} {shown(key)}", "must stand in the table of an account")
            )
    if not found:
        values.problems.append(Problem(variable, "must have one table per account"))
    return values if values.problems else found


def shown(key: str) -> str:
    """Return a key of the accounts file where it looks like a name; it may be a value misplaced."""
    if NAME_PATTERN.fullmatch(key) and not _LONG_DIGITS.search(key):
        return key
    return "(a name that is not shown)"


class _UnreadableError(Exception):
    pass


def _toml(text: str) -> dict[str, Any]:
    if any(line.count(".") > MAX_DOTS for line in text.splitlines()):
        raise _UnreadableError(f"has a line with more than {MAX_DOTS} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        if said.startswith(_NAMES_KEYS):
            place = _PLACE.search(said)
            said = f"a key or table stands there twice {place[0] if place else ''}".strip()
        raise _UnreadableError(f"is not TOML: {said}") from None
    except RecursionError:
        raise _UnreadableError("is not usable: it is nested too deeply") from None
    except ValueError:
        raise _UnreadableError("is not usable: it has a number that is too long") from None


def _keys_of(name: str) -> tuple[str, str, str, str]:
    prefixed = variable_of(name).lower()
    suffix = FILE_SUFFIX.lower()
    return name, prefixed, name + suffix, prefixed + suffix


def _take(values: Values, name: str, label: str, text: str | None, path: str | None) -> None:
    if text and path:
        values.refuse(name, label, "is given both itself and as a file; give one")
    elif path:
        try:
            values.texts[name] = _content(Path(path)).removesuffix("\n").removesuffix("\r")
        except _UnreadableError as error:
            suffix = FILE_SUFFIX if label.isupper() else FILE_SUFFIX.lower()
            values.refuse(name, label + suffix, str(error))
    elif text:
        values.texts[name] = text


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise _UnreadableError(f"names a file of more than {MAX_FILE_BYTES} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise _UnreadableError(f"names a file that cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _UnreadableError("names a file that is not UTF-8") from None
    except ValueError:
        raise _UnreadableError("is not a path") from None
