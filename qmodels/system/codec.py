"""Strict decoding of JSON and TOML into frozen dataclasses, and their encoding.

By cattrs and not by msgspec, because an error of cattrs has the whole path, with the keys of
mappings: ``benchmarks[3].extra_info.metrics.top1.value``.
"""

import base64
import json
import math
import reprlib
import tomllib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import cattrs
from cattrs.cols import (
    is_namedtuple,
    mapping_structure_factory,
    namedtuple_dict_structure_factory,
)
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from qmodels.system.errors import UserError, describe_error

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]
# A value of JSON that is no list and no object.
Scalar = str | int | float | bool | None


class Malformed(UserError):
    """A value is not what it is decoded as.

    Attributes:
        path: to the value; empty of a whole file.
        reason: as a message fragment.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason


class _Refused(ValueError):
    """Why a value is refused, as a message fragment."""


def parse_json(data: bytes) -> Any:
    """Parse JSON (RFC 8259): UTF-8, no key twice in an object, no NaN, nothing infinite.

    Raises:
        Malformed: it is something else.
    """
    try:
        return json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_finite,
            parse_float=_finite,
            object_pairs_hook=_without_duplicates,
        )
    except _Refused as error:
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


def decode(kind: type[T], value: Any, *, at: str = "") -> T:
    """A parsed value as a class that qmodels uses.

    Nothing is converted: a text that looks like a number is none. Keys that the class does not have
    are left out, or refused where it is ``closed``. If it has a method ``check``, that is called.

    Args:
        kind: a dataclass. Its fields are scalars, literals, tuples, mappings and such classes. A
            field's metadata may have its ``key`` in JSON; None is not in JSON. Named tuples are
            lists in JSON, numpy arrays (N,) texts.
        at: the path to the value.

    Raises:
        Malformed: the value is something else.
    """
    try:
        return _converter().structure(value, kind)
    except Exception as error:  # whatever a class raises for values of the wrong type
        raise Malformed(*next(_failures(error, at))) from None


def encode(value: Any, kind: Any = None) -> Any:
    """A value as JSON can hold it; fields that have their default are left out.

    Args:
        kind: the class whose fields are wanted; the value's own by default.
    """
    return _converter().unstructure(value, unstructure_as=kind)


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
    _converter().register_structure_hook_func(
        lambda asked: asked == kind, lambda value, _: structure(value)
    )


def expect(condition: bool, what: str) -> None:
    """Refuse the value that is being decoded where a condition fails.

    Args:
        what: was expected, as a message fragment.

    Raises:
        ValueError: the condition fails; ``decode`` adds the path.
    """
    if not condition:
        raise _Refused(f"expected {what}")


def join(path: str, step: str | int) -> str:
    """A path with one more key or position: ``entries['bench_size[fp32]'].about``."""
    if not isinstance(step, str) or not step.isidentifier():
        return f"{path}[{step!r}]"
    return f"{path}.{step}" if path else step


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise _Refused(f"it holds the number {literal}")
    return value


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise _Refused(f"an object has {name!r} twice")
        unique[name] = value
    return unique


def _failures(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """Paths and reasons of what cattrs raised, the first one first."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, others = error.group_exceptions()
        for cause, note in noted:
            if isinstance(note, AttributeValidationNote):
                yield from _failures(cause, join(path, _key(error.cl, note.name)))
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
    elif isinstance(error, _Refused):
        yield path, str(error)
    else:
        yield path, describe_error(error)


# What cattrs decodes and encodes by.


def _of_scalar(what: str, *kinds: type) -> Hook:
    def decode_scalar(value: Any, _: Any) -> Any:
        expect(type(value) in kinds and _is_writable(value), f"{what}, not {reprlib.repr(value)}")
        return value

    return decode_scalar


def _is_writable(value: Scalar) -> bool:
    """Whether a value is no half of a surrogate pair, and no number of hundreds of digits."""
    try:
        str(value).encode()
        return not isinstance(value, int | float) or math.isfinite(value)
    except (UnicodeEncodeError, OverflowError, ValueError):
        return False


def _of_literal(kind: Any) -> Hook:
    choices = get_args(kind)

    def decode_literal(value: Any, _: Any) -> Any:
        expect(value in choices, f"{' or '.join(choices)}, not {reprlib.repr(value)}")
        return value

    return decode_literal


def _of_mapping(kind: Any, converter: cattrs.Converter) -> Hook:
    hook = mapping_structure_factory(kind, converter, dict)

    def decode_mapping(value: Any, _: Any) -> Any:
        expect(isinstance(value, dict), "an object")
        return hook(value, kind)

    return decode_mapping


def _of_tuple(kind: Any, converter: cattrs.Converter) -> Hook:
    """Of a tuple whose items have one type."""
    first, *others = get_args(kind)
    as_list = cast(Any, list)[first]
    hook = converter.get_structure_hook(as_list)
    length = None if others == [...] else 1 + len(others)

    def decode_tuple(value: Any, _: Any) -> Any:
        expect(isinstance(value, list | tuple) and length in (None, len(value)), _a_list(length))
        return tuple(hook(value, as_list))

    return decode_tuple


def _of_named_tuple(kind: Any, converter: cattrs.Converter) -> Hook:
    hook = namedtuple_dict_structure_factory(kind, converter)
    names = kind._fields

    def decode_named_tuple(value: Any, _: Any) -> Any:
        expect(isinstance(value, list | tuple) and len(value) == len(names), _a_list(len(names)))
        return hook(dict(zip(names, value, strict=True)), kind)

    return decode_named_tuple


def _a_list(length: int | None) -> str:
    return "a list" if length is None else f"a list of {length}"


def _of_array(kind: Any, _: cattrs.Converter) -> Hook:
    """Of a numpy array (N,): base64 of what zlib made of its bytes, little-endian."""
    import numpy as np  # which not every process needs

    dtype = np.dtype(get_args(get_args(kind)[1])[0]).newbyteorder("<")

    def decode_array(value: Any, _: Any) -> Any:
        try:
            packed = zlib.decompress(base64.b64decode(value, validate=True))
            return np.frombuffer(packed, dtype)
        except (TypeError, ValueError, zlib.error):
            raise _Refused(f"expected an array of {dtype.name}, packed") from None

    return decode_array


def _from_array(values: Any) -> str:
    packed = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(packed, 9)).decode()


def _of_class(kind: Any, converter: cattrs.Converter) -> Hook:
    closed = getattr(kind, "closed", False)
    keys = _keys(kind)
    hook = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=closed, **keys)
    check = getattr(kind, "check", None)

    def decode_class(value: Any, _: Any) -> Any:
        expect(isinstance(value, dict), "an object")
        decoded = hook(value, kind)
        if check is not None:
            check(decoded)
        return decoded

    return decode_class


def _from_class(kind: Any, converter: cattrs.Converter) -> Callable[[Any], Any]:
    hook = make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **_keys(kind))
    order = [_key(kind, each.name) for each in fields(kind)]

    def encode_class(value: Any) -> dict[str, Any]:
        encoded = hook(value)
        return {key: encoded[key] for key in order if key in encoded}

    return encode_class


def _keys(kind: Any) -> dict[str, Any]:
    """Fields that have another key in JSON, or none."""
    keys = {each.name: each.metadata["key"] for each in fields(kind) if "key" in each.metadata}
    return {name: override(rename=key, omit=key is None) for name, key in keys.items()}


def _key(kind: Any, name: str) -> str:
    """The key of a field in JSON."""
    known = fields(kind) if is_dataclass(kind) else ()
    return str({each.name: each.metadata.get("key", name) for each in known}.get(name, name))


def _is_array(kind: Any) -> bool:
    return getattr(get_origin(kind), "__name__", None) == "ndarray"


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    for kind, hook in {
        str: _of_scalar("a text", str),
        int: _of_scalar("a whole number", int),
        # A whole one stays an int, so that it is written with all its digits.
        float: _of_scalar("a number", int, float),
        bool: _of_scalar("true or false", bool),
        int | str: _of_scalar("a whole number or a text", int, str),
        Scalar: _of_scalar("a number, a text, true, false or null", *get_args(Scalar)),
    }.items():
        converter.register_structure_hook(kind, hook)
    factories: list[tuple[Callable[[Any], bool], Callable[..., Hook]]] = [
        (is_dataclass, _of_class),
        (is_namedtuple, _of_named_tuple),
        (lambda kind: get_origin(kind) is tuple, _of_tuple),
        (lambda kind: get_origin(kind) in (Mapping, dict), _of_mapping),
        (_is_array, _of_array),
        (lambda kind: get_origin(kind) is Literal, lambda kind, _: _of_literal(kind)),
    ]
    for applies, factory in factories:
        converter.register_structure_hook_factory(applies, factory)
    converter.register_unstructure_hook_factory(is_dataclass, _from_class)
    converter.register_unstructure_hook_func(_is_array, _from_array)
    return converter
