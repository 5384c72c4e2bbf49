"""Values of files: what they are decoded as, and what is refused. Less than a second."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qmodels.system import codec
from qmodels.system.converter import expect
from qmodels.system.errors import UserError


class Point(NamedTuple):
    """A list of two in JSON."""

    x: float
    y: int


@dataclass(frozen=True)
class Part:
    """A part that knows what makes no sense."""

    name: str
    weight: float = 1.0

    def check(self) -> None:
        expect(self.weight > 0, f"a weight above 0, not {self.weight}")


@dataclass(frozen=True)
class Labels:
    """An array, and another key in JSON."""

    values: NDArray[np.uint8] = field(metadata={"key": "classes"})


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One of everything."""

    kind: Literal["new", "used"]
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part] = field(default_factory=dict)
    point: Point | None = None
    size: tuple[float, float] | None = None
    threads: int | str = 1
    ready: bool = True
    folder: str = field(default="here", metadata={"key": None})
    other: Any = None


@dataclass(frozen=True)
class Closed:
    """Refuses keys that it does not have."""

    closed = True

    a: int = 0
    b: int = 0


PART = {"name": "wheel"}
WHOLE: dict[str, Any] = {
    "kind": "new",
    "parts": [PART, {"name": "door", "weight": 2}],
    "by_name": {"a b": PART},
    "point": [0.5, 1],
    "size": [1, 2.5],
    "threads": "all",
    "ready": False,
    "other": [{}],
}


def test_a_value_comes_back_the_same() -> None:
    whole = codec.decode(Whole, WHOLE | {"of a later version": 1})
    assert whole.parts == (Part("wheel"), Part("door", 2))
    assert whole.point == Point(0.5, 1)
    assert whole.by_name == {"a b": Part("wheel")}
    assert json.loads(json.dumps(codec.encode(whole))) == WHOLE
    assert json.dumps(codec.encode(whole.parts[1])) == '{"name": "door", "weight": 2}'


def test_what_has_its_default_is_left_out_and_the_order_is_that_of_the_class() -> None:
    whole = Whole(kind="used", parts=(), point=Point(0, 0), folder="there")
    assert list(codec.encode(whole)) == ["kind", "parts", "point"]


@given(st.lists(st.integers(0, 255), max_size=300))
def test_arrays_are_packed(values: list[int]) -> None:
    record = json.loads(json.dumps(codec.encode(Labels(np.array(values, np.uint8)))))
    labels = codec.decode(Labels, record).values
    assert labels.dtype == np.uint8
    assert labels.tolist() == values


@pytest.mark.parametrize("packed", ["x", 3, "AAAA"])
def test_what_is_no_array_is_refused(packed: Any) -> None:
    with pytest.raises(UserError, match="^classes: expected an array of uint8, packed$"):
        codec.decode(Labels, {"classes": packed})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "old"}, "kind: expected new or used, not 'old'"),
        ({"kind": ["new"]}, "kind: expected new or used, not ['new']"),
        ({"parts": None}, "parts: expected a list"),
        ({"parts": "ab"}, "parts: expected a list"),
        ({"parts": {"name": "x"}}, "parts: expected a list"),
        ({"parts": [PART, {}]}, "parts[1].name: it is missing"),
        ({"parts": [[]]}, "parts[0]: expected an object"),
        ({"parts": [{"name": 3}]}, "parts[0].name: expected a text, not 3"),
        ({"parts": [{"name": "a", "weight": "1"}]}, "parts[0].weight: expected a number, not '1'"),
        ({"parts": [{"name": "a", "weight": True}]}, "parts[0].weight: expected a number, not Tr"),
        ({"parts": [{"name": "a", "weight": -1}]}, "parts[0]: expected a weight above 0, not -1"),
        ({"parts": [{"name": "a", "weight": 10**400}]}, "parts[0].weight: expected a number"),
        ({"by_name": {"a b": {}}}, "by_name['a b'].name: it is missing"),
        ({"by_name": {"ab": {}}}, "by_name.ab.name: it is missing"),
        ({"by_name": [PART]}, "by_name: expected an object"),
        ({"point": [1]}, "point: expected a list of 2"),
        ({"point": [1, 0.5]}, "point[1]: expected a whole number, not 0.5"),
        ({"size": [1]}, "size: expected a list of 2"),
        ({"size": [1, None]}, "size[1]: expected a number, not None"),
        ({"threads": 1.0}, "threads: expected a whole number or a text, not 1.0"),
        ({"ready": 0}, "ready: expected true or false, not 0"),
    ],
)
def test_what_is_something_else_is_refused_with_its_path(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        codec.decode(Whole, WHOLE | change)
    assert str(caught.value).startswith(said)
    with pytest.raises(UserError) as caught:
        codec.decode(Whole, WHOLE | change, at="wholes[3]")
    assert str(caught.value).startswith(f"wholes[3].{said}")


def test_a_closed_class_refuses_unknown_keys() -> None:
    with pytest.raises(UserError, match="^x: it has an unknown key 'c': use a, b$"):
        codec.decode(Closed, {"a": 1, "c": 2}, at="x")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON ('utf-8' codec can't decode"),
        (b"\x1f\x8b\x08", "it is no JSON ('utf-8' codec can't decode"),
        (b"[NaN]", "it holds the number NaN"),
        (b"[-Infinity]", "it holds the number -Infinity"),
        (b"[1e999]", "it holds the number 1e999"),
        (b'{"a": {"b": 1, "b": 1}}', "an object has 'b' twice"),
        (b"[" * 100_000, "it is no JSON (maximum recursion depth"),
        (b"1" * 5000, "it is no JSON (Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        codec.parse_json(data)
    assert str(caught.value).startswith(said)


def test_a_byte_order_mark_is_no_damage() -> None:
    assert codec.parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("data", [b"[a", b"\xff", b"a = " + b"[" * 10_000])
def test_what_is_no_toml_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="^it is no TOML "):
        codec.parse_toml(data)


def test_a_file_that_can_not_be_read_is_one_line(tmp_path: Path) -> None:
    said = {
        tmp_path: "can't be read (Is a directory): check its folder and its mode",
        tmp_path / "none": "is missing: make it again",
    }
    for path, text in said.items():
        with (
            pytest.raises(UserError) as caught,
            codec.damage_as_error(path, "make it again"),
        ):
            path.read_bytes()
        assert str(caught.value) == f"{path} {text}"
