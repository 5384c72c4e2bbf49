"""Zip archives that torch writes, without entries that only their builder can use."""

import zipfile
from pathlib import Path
from typing import IO


def copy_without(source: Path | IO[bytes], target: Path, suffix: str) -> None:
    """Copy an archive without the entries that end in a suffix; the others are unchanged.

    torch aligns entries, so that they can be mapped into memory. Nothing here maps them, and the
    padding is left out.
    """
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for entry in before.infolist():
            if not entry.filename.endswith(suffix):
                content = before.read(entry)
                entry.extra = b""
                after.writestr(entry, content)
