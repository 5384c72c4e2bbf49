"""Zip archives that torch writes, without entries that only their builder can use."""

import zipfile
from pathlib import Path
from typing import IO


def copy_without(
    source: Path | IO[bytes], target: Path, suffix: str, *, keep_names: bool = False
) -> None:
    """Copy an archive without the entries that end in a suffix; the others are unchanged.

    torch aligns entries, so that they can be mapped into memory. Nothing here maps them, and the
    padding is left out.

    Args:
        keep_names: whether those entries are kept, without content.
    """
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for entry in before.infolist():
            left_out = entry.filename.endswith(suffix)
            if keep_names or not left_out:
                content = b"" if left_out else before.read(entry)
                entry.extra = b""
                after.writestr(entry, content)
