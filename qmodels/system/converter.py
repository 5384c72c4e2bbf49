"""The converter of ``codec``: cattrs, made strict."""

import base64
import math
import reprlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, cast, get_args, get_origin

import cattrs
from cattrs.cols import (
    is_namedtuple,
    mapping_structure_factory,
    namedtuple_dict_structure_factory,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

Hook = Callable[[Any, Any], Any]


class Refused(ValueError):
    """Why a value is refused, as a message fragment."""


def expect(condition: bool, what: str) -> None:
    """Refuse the value that is being decoded where a condition fails.

    Args:
        what: was expected, as a message fragment.

    Raises:
        ValueError: the condition fails; ``decode`` adds the path.
    """
    if not condition:
        raise Refused(f"expected {what}")


def _of_scalar(what: str, *kinds: type) -> Hook:
    def decode_scalar(value: Any, _: Any) -> Any:
        is_kind = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        expect(is_kind and _is_finite(value), f"{what}, not {reprlib.repr(value)}")
        return value

    return decode_scalar


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, int | float) or math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
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
    """The hook of a numpy array (N,): base64 of its bytes, little-endian, compressed by zlib."""
    import numpy as np  # which not every process needs

    dtype = np.dtype(get_args(get_args(kind)[1])[0]).newbyteorder("<")

    def decode_array(value: Any, _: Any) -> Any:
        try:
            packed = zlib.decompress(base64.b64decode(value, validate=True))
            return np.frombuffer(packed, dtype)
        except (TypeError, ValueError, zlib.error):
            raise Refused(f"expected an array of {dtype.name}, packed") from None

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
    order = [json_key(kind, each.name) for each in fields(kind)]

    def encode_class(value: Any) -> dict[str, Any]:
        encoded = hook(value)
        return {key: encoded[key] for key in order if key in encoded}

    return encode_class


def _keys(kind: Any) -> dict[str, Any]:
    keys = {each.name: each.metadata["key"] for each in fields(kind) if "key" in each.metadata}
    return {name: override(rename=key, omit=key is None) for name, key in keys.items()}


def json_key(kind: Any, name: str) -> str | int:
    """The key of a field in JSON; of a named tuple, the position."""
    if is_namedtuple(kind):
        return int(kind._fields.index(name))
    known = fields(kind) if is_dataclass(kind) else ()
    return str({each.name: each.metadata.get("key", name) for each in known}.get(name, name))


def _is_array(kind: Any) -> bool:
    return getattr(get_origin(kind), "__name__", None) == "ndarray"


@cache
def converter() -> cattrs.Converter:
    """The converter, made when it is first needed."""
    strict = cattrs.Converter()
    for kind, hook in {
        str: _of_scalar("a text", str),
        int: _of_scalar("a whole number", int),
        # A whole one stays an int, so that it is written with all its digits.
        float: _of_scalar("a number", int, float),
        bool: _of_scalar("true or false", bool),
        int | str: _of_scalar("a whole number or a text", int, str),
    }.items():
        strict.register_structure_hook(kind, hook)
    factories: list[tuple[Callable[[Any], bool], Callable[..., Hook]]] = [
        (is_dataclass, _of_class),
        (is_namedtuple, _of_named_tuple),
        (lambda kind: get_origin(kind) is tuple, _of_tuple),
        (lambda kind: get_origin(kind) in (Mapping, dict), _of_mapping),
        (_is_array, _of_array),
        (lambda kind: get_origin(kind) is Literal, lambda kind, _: _of_literal(kind)),
    ]
    for applies, factory in factories:
        strict.register_structure_hook_factory(applies, factory)
    strict.register_unstructure_hook_factory(is_dataclass, _from_class)
    strict.register_unstructure_hook_func(_is_array, _from_array)
    return strict
