"""Strict decoding of JSON and TOML into frozen dataclasses, and their encoding.

By cattrs and not by msgspec, because an error of cattrs has the whole path, with the keys of
mappings: ``benchmarks[3].extra_info.metrics.top1.value``.
"""

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)

from qmodels.system.converter import Refused, converter, json_key
from qmodels.system.errors import UserError, describe_error

_T = TypeVar("_T")


class Malformed(UserError):
    """A value is not what it is decoded as.

    Attributes:
        path: to the value; empty of a whole file.
        reason: as a message fragment.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason


def parse_json(data: bytes) -> Any:
    """Parse JSON (RFC 8259): UTF-8, no key twice in an object, no NaN, nothing infinite.

    Raises:
        Malformed: it is something else.
    """
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(
            text,
            parse_constant=_finite,
            parse_float=_finite,
            object_pairs_hook=_without_duplicates,
        )
        if "\\ud" in text.lower() and not _is_text(json.dumps(value, ensure_ascii=False)):
            raise Refused("it holds half of a surrogate pair")
        return value
    except Refused as error:
        raise Malformed("", str(error)) from None
    except (ValueError, RecursionError) as error:
        raise Malformed("", f"it is no JSON ({error})") from None


def parse_toml(data: bytes) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        Malformed: it is something else.
    """
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed("", f"it is no TOML ({error})") from None


def decode(kind: type[_T], value: Any, *, at: str = "") -> _T:
    """A parsed value as a class that qmodels uses.

    Nothing is converted: a text that looks like a number is none. Keys that the class does not have
    are left out, or refused where it is ``closed``. If it has a method ``check``, that is called.

    Args:
        kind: a dataclass. Its fields are scalars, literals, tuples, mappings and such classes. A
            field's metadata may have its ``key`` in JSON, or None where it has none. Named tuples
            are lists in JSON, numpy arrays (N,) are texts.
        at: the path to the value.

    Raises:
        Malformed: the value is something else.
    """
    try:
        return converter().structure(value, kind)
    except Exception as error:  # whatever a class raises for values of the wrong type
        raise Malformed(*next(_failures(error, at))) from None


def encode(value: Any, kind: Any = None) -> Any:
    """A value as JSON can hold it; fields that have their default are left out.

    Args:
        kind: the class whose fields are wanted; the value's own by default.
    """
    return converter().unstructure(value, unstructure_as=kind)


@contextmanager
def damage_as_error(file: str | Path, remedy: str) -> Iterator[None]:
    """Turn what reading a file raises into one line.

    Args:
        file: as people type its path.
        remedy: of a damaged file.

    Raises:
        UserError: the file can't be read, or is damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{file} is missing: {remedy}") from None
    except OSError as error:
        raise UserError(
            f"{file} can't be read ({error.strerror}): check its folder and its mode"
        ) from None
    except Malformed as error:
        raise UserError(f"{file}: {error}: {remedy}") from None


def register(kind: Any, structure: Callable[[Any], Any]) -> None:
    """Decode a type by a function, which raises ValueError where the value is malformed."""
    converter().register_structure_hook_func(
        lambda asked: asked == kind, lambda value, _: structure(value)
    )


def join(path: str, step: str | int) -> str:
    """A path with one more key or position: ``entries['bench_size[fp32]'].about``."""
    if not isinstance(step, str) or not step.isidentifier():
        return f"{path}[{step!r}]"
    return f"{path}.{step}" if path else step


def _is_text(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise Refused(f"it holds the number {literal}")
    return value


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise Refused(f"an object has {name!r} twice")
        unique[name] = value
    return unique


def _failures(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, others = error.group_exceptions()
        for cause, note in noted:
            if isinstance(note, AttributeValidationNote):
                yield from _failures(cause, join(path, json_key(error.cl, note.name)))
            else:
                yield from _failures(cause, join(path, note.index))
        for cause in others:
            yield from _failures(cause, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = ", ".join(each.name for each in fields(error.cl))
        yield path, f"it has an unknown key {min(error.extra_fields)!r}: use {known}"
    elif isinstance(error, KeyError):
        yield path, "it is missing"
    elif isinstance(error, Malformed):
        dot = "." if path and error.path[:1] not in ("", "[") else ""
        yield f"{path}{dot}{error.path}", error.reason
    elif isinstance(error, Refused):
        yield path, str(error)
    else:
        yield path, describe_error(error)
