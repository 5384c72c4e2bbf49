"""How this code asks another state of itself: `qmodels serve`, in lines of JSON.

A conversation begins with a hello, in which both sides say which protocol they speak. Requests
after it are by a name, ``{"request": "build", ...}``; ``serving`` tells what each takes and
answers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmodels import child
from qmodels.child import Checkout, Child
from qmodels.errors import UserError

# Raised with anything that one side reads of the other: requests, answers, the index of
# checkpoints, the run record.
PROTOCOL = 1
COMMAND = ("qmodels", "serve")


@dataclass(frozen=True)
class Hello:
    """What the other side says of itself.

    Attributes:
        version: of its package.
        variants: names of those that it knows, whether they run here or not.
        conditions: what its numbers depend on beside its code: machine class, versions.
    """

    version: str
    variants: tuple[str, ...]
    conditions: Mapping[str, Any]


def greet(one: Child) -> Hello:
    """Begin a conversation.

    Raises:
        UserError: the other side speaks another protocol or none, or is not of its checkout.
    """
    found = one.ask({"protocol": PROTOCOL})
    number = found.get("protocol") if isinstance(found, dict) else None
    if number != PROTOCOL:
        raise UserError(f"it speaks protocol {number}")
    if Path(found["root"]) != one.checkout.root.resolve():
        raise UserError(f"there is no package qmodels; its Python finds that of {found['root']}")
    return Hello(found["version"], tuple(found["variants"]), found["conditions"])


@contextmanager
def conversation(
    checkout: Checkout, *, command: tuple[str, ...] = COMMAND, steady_heap: bool = False
) -> Iterator[tuple[Child, Hello]]:
    """Talk with a checkout while the block lasts; with what it said at first.

    Args:
        command: what it runs to answer.
        steady_heap: as for ``child.start``.

    Raises:
        UserError: as for ``greet``.
    """
    with child.start(*command, checkout=checkout, steady_heap=steady_heap) as one:
        yield one, greet(one)
