"""Identity of bytes, pixels, runs and rows."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import numpy as np

CHUNK = 1 << 20  # [byte] read at a time while hashing


def file_hash(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class PixelHash:
    """The sha256 of an array's shape, dtype and C-ordered little-endian values, fed piece by piece.

    The same image saved by two programs in two formats has one pixel hash: byte order on disk and
    memory layout do not matter, dtype and shape do.

    Parameters
    ----------
    shape, dtype
        Of the whole array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._dtype = dtype.newbyteorder("<")
        self._digest = hashlib.sha256(f"{shape}|{self._dtype.str}|".encode())

    def update(self, part: np.ndarray) -> None:
        """Add the next values in C order."""
        import numpy as np

        flat = np.ascontiguousarray(part, dtype=self._dtype)
        self._digest.update(flat.reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        """Return the hash of everything added, as 64 hexadecimal digits."""
        return self._digest.hexdigest()


def pixel_hash(array: np.ndarray) -> str:
    """Return the `PixelHash` of a whole array."""
    digest = PixelHash(array.shape, array.dtype)
    digest.update(array)
    return digest.hexdigest()


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_key(model_hash: str, parameters: Mapping[str, Any]) -> str:
    """Return the identity of a computation: sha256 over model hash and canonical parameters."""
    return hashlib.sha256(f"{model_hash}|{canonical_json(dict(parameters))}".encode()).hexdigest()


def uuid7() -> str:
    """Return a UUIDv7 (RFC 9562) as text: 48 bits of Unix time [ms], then random bits.

    Time-ordered, so it doubles as the default row order.
    """
    stamp = time.time_ns()
    milliseconds, rest = divmod(stamp, 1_000_000)
    # RFC 9562 section 6.2, method 3: 12 bits of sub-millisecond time keep order within a millisecond.
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    value = (milliseconds << 80) | (7 << 76) | (fraction << 64) | (0b10 << 62) | random
    return str(UUID(int=value))


def now() -> str:
    """Return the present moment, ISO 8601 in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@cache
def package_version(package: str = "micdb") -> str:
    """Return the installed version of a package, or ``unknown``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
