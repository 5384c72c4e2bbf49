"""Requests to another state of this code: `qmodels serve`, in lines of JSON.

A connection begins with a hello, in which both sides name their protocol. Each later request
has a name, as ``{"request": "build", ...}``; ``base.serving`` documents what each takes and
answers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from qmodels.system import codec, worker
from qmodels.system.checkout import Checkout
from qmodels.system.errors import UserError
from qmodels.system.worker import Worker

# Goes up with any change of what one side reads of the other: requests, answers, the index of
# checkpoints, the run record. Its history:
# 1: A request names a checkpoint by its path.
# 2: It names the function that gives the network.
# 3: It says which benches to run. A hello asks for the file of a module, not of the package.
# 4: Every answer is an object.
PROTOCOL = 4
COMMAND = ("qmodels", "serve")


@dataclass(frozen=True)
class Conditions:
    """Machine, versions and variables that the numbers of a side depend on, beside its code.

    Attributes:
        versions: of Python, of torch, and of all that variants require.
        isa: variables that hide instructions from a kernel library.
    """

    machine_class: str
    versions: Mapping[str, str]
    isa: Mapping[str, str]


@dataclass(frozen=True)
class Hello:
    """The other side's answer to a hello.

    Attributes:
        file: the module that was asked for; None where it has none of that name.
        variants: names of all that it knows, whether they run here or not.
    """

    version: str
    file: str | None
    variants: tuple[str, ...]
    conditions: Conditions


def _greet(process: Worker, module: str) -> Hello:
    answer = process.request({"protocol": PROTOCOL, "module": module})
    number = answer.get("protocol")
    if number != PROTOCOL:
        raise UserError(f"it speaks protocol {number}")
    try:
        return codec.decode(Hello, answer)
    except codec.Malformed as error:
        raise UserError(f"its hello is malformed ({error})") from None


@contextmanager
def connect(
    checkout: Checkout | None,
    *,
    command: tuple[str, ...] = COMMAND,
    module: str = __name__,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Worker, Hello]]:
    """Talk with a checkout while the block lasts.

    Args:
        checkout: that of this process where it is None.
        command: the module that answers, and its arguments.
        module: one whose file the other side is to name.
        environment: as for ``worker.start``.

    Yields:
        The process, and its hello.

    Raises:
        UserError: the other side speaks another protocol or none.
    """
    with worker.start(*command, checkout=checkout, environment=environment) as process:
        yield process, _greet(process, module)
