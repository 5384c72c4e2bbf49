"""Digests, and the content-addressed cache.

A built folder is named by the digest of all that it was made from. Its manifest holds the digests
of its files, which every load checks. This is by hand because a cache of single values, as joblib's
or diskcache's, has neither folders nor that check.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from qmodels.system import codec
from qmodels.system.errors import UserError
from qmodels.system.files import lock, named_folder, scratch_name, write_text

MANIFEST = "manifest.json"
# The variable that names the folder of torch's compiler.
INDUCTOR_CACHE = "TORCHINDUCTOR_CACHE_DIR"
# The format of manifests. There was no other. It is part of a folder's name, so that nobody reads
# folders of another format.
MANIFEST_FORMAT = 1


def cache_dir(*parts: str) -> Path:
    """The cache directory, or a folder in it, created where it is missing.

    ``QMODELS_CACHE_DIR`` overrides the platform's user cache directory.

    Raises:
        UserError: the folder can't be created or written.
    """
    folder = cache_path().joinpath(*parts)
    remedy = "set QMODELS_CACHE_DIR to a folder that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cache directory {folder} can't be made ({error.strerror}): {remedy}"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cache directory {folder} can't be written: {remedy}")
    return folder


def cache_path() -> Path:
    """Where the cache directory is, or would be."""
    folder = named_folder("QMODELS_CACHE_DIR")
    try:
        return folder or platformdirs.user_cache_path("qmodels")
    except RuntimeError:
        raise UserError("no home directory is known: set QMODELS_CACHE_DIR") from None


def place_inductor_cache() -> None:
    """Keep the files of torch's compiler in the cache directory, where that can be written.

    By default it makes a folder in the temporary directory as soon as it is imported.
    """
    root = cache_path()
    existing = next(folder for folder in (root, *root.parents) if os.access(folder, os.F_OK))
    if os.access(existing, os.W_OK):
        os.environ.setdefault(INDUCTOR_CACHE, str(root / "inductor"))


def digest_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_value(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    return digest_bytes(json.dumps(value, sort_keys=True).encode())


def get_or_build(
    name: str, inputs: Mapping[str, Any], build: Callable[[Path], None], *, root: Path | None = None
) -> Path:
    """The folder that ``build`` fills, made once for each distinct ``inputs``.

    Args:
        name: readable first part of the folder's name.
        inputs: JSON value of everything that the result depends on; its digest, with the format
            of manifests, is the rest of the folder's name.
        build: writes files into the empty scratch folder that it is given.
        root: the parent of such folders; the cache's ``artifacts`` by default.

    Two processes that ask for the same folder wait for one build. A folder whose files no longer
    match their digests is built again, with a warning.

    Raises:
        UserError: the disk is full, or the folder can't be written.
    """
    root = root or cache_dir("artifacts")
    key = digest_value({"format": MANIFEST_FORMAT, "inputs": inputs})
    folder = root / f"{name}-{key[:16]}"
    with lock(folder):
        if folder.exists():
            damage = damaged_file(folder, inputs)
            if damage is None:
                return folder
            warnings.warn(f"{damage} is damaged: building {name} again", stacklevel=2)
        # A process that was killed while it built left its scratch folder.
        for leftover in root.glob(f".{folder.name}.build.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        scratch = scratch_name(root, f"{folder.name}.build")
        try:
            if folder.exists():
                shutil.rmtree(folder)
            scratch.mkdir()
            build(scratch)
            files = {
                str(path.relative_to(scratch)): digest_file(path)
                for path in sorted(scratch.rglob("*"))
                if path.is_file()
            }
            manifest = Manifest(MANIFEST_FORMAT, inputs, files)
            write_text(scratch / MANIFEST, json.dumps(asdict(manifest), indent=2))
            scratch.rename(folder)
        except OSError as error:
            raise UserError(
                f"{folder} can't be written ({error.strerror}): "
                "free the disk or set QMODELS_CACHE_DIR"
            ) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Manifest:
    """The inputs of a built folder, and digests of its files.

    Other files may lie there, as those that file managers write.

    Attributes:
        inputs: of ``get_or_build``.
        files: digests by name.
    """

    format: int
    inputs: Mapping[str, Any]
    files: Mapping[str, str]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a built folder.

    Raises:
        UserError: there is none, it is damaged, or it has another format.
    """
    path = folder / MANIFEST
    with codec.damage_as_error(path, f"delete {folder} to rebuild"):
        manifest = codec.decode(Manifest, codec.parse_json(path.read_bytes()))
        if manifest.format != MANIFEST_FORMAT:
            raise codec.Malformed("format", f"expected {MANIFEST_FORMAT}, not {manifest.format}")
    return manifest


def damaged_file(folder: Path, inputs: Mapping[str, Any] | None = None) -> Path | None:
    """The first file of a built folder that is missing or does not match its digest.

    None where all match. A manifest of another format, or of other inputs, counts as damaged.

    Args:
        inputs: that the folder has to be made from; None for any.
    """
    try:
        manifest = read_manifest(folder)
    except UserError:
        return folder / MANIFEST
    if inputs is not None and digest_value(manifest.inputs) != digest_value(inputs):
        return folder / MANIFEST
    for name, digest in manifest.files.items():
        try:
            if digest_file(folder / name) != digest:
                return folder / name
        except OSError:
            return folder / name
    return None
