"""Find a backend by its name.

Ours are modules of this folder with an object ``BACKEND``. Another package adds one by an entry
point in the group ``qmodels.backends``, which has the backend's name and leads to the object.
"""

from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

from qmodels.backends.base import Backend
from qmodels.system.errors import UserError

GROUP = "qmodels.backends"


def find(name: str) -> Backend:
    """The backend of a name. No other is imported.

    Raises:
        UserError: there is none.
    """
    module = f"{__package__}.{name}"
    if find_spec(module) is not None:
        backend = import_module(module).BACKEND
    else:
        registered = {entry.name: entry for entry in entry_points(group=GROUP)}
        if name not in registered:
            raise UserError(
                f"no backend {name!r}: install the package that registers it in {GROUP}"
            )
        backend = registered[name].load()
    assert isinstance(backend, Backend)
    return backend
