"""Names of exported files: readable, unique, and safe on every file system."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

LENGTH = 80  # [character] of the readable part; with uid, number and suffix far below 255 bytes
TAIL = 8  # [character] of the uid: its end is random, its beginning is a time that images share
_MICRO = {"µ": "u", "μ": "u", "°": "deg", "×": "x", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae"}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)")


def stems(images: Iterable[tuple[str, str]]) -> list[str]:
    """Return a file name without suffix for each image: its title, and the end of its uid.

    Parameters
    ----------
    images
        uid and title of each, the uids all different.
    """
    pairs = list(images)
    short = [f"{readable(title)}-{uid[-TAIL:]}" for uid, title in pairs]
    count = Counter(stem.lower() for stem in short)  # some file systems do not tell A from a
    return [
        stem if count[stem.lower()] == 1 else f"{readable(title)}-{uid}"
        for stem, (uid, title) in zip(short, pairs, strict=True)
    ]


def readable(title: str) -> str:
    """Return a title in ASCII letters, digits, ``.`` and ``_``: ``α-Fe, 5 µm`` is ``alpha-Fe_5_um``."""
    plain = "".join(_MICRO.get(sign) or _letter(sign) for sign in title)
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "_", plain)
    plain = re.sub(r"\.{2,}", ".", plain)[:LENGTH]
    return plain.strip("._-+") or "image"


def numbered(stem: str, count: int, suffix: str) -> list[str]:
    """Return one file name per frame, numbered from 0; a single image has no number."""
    if count == 1:
        return [f"{stem}{suffix}"]
    width = len(str(count - 1))
    return [f"{stem}_{number:0{width}d}{suffix}" for number in range(count)]


def _letter(sign: str) -> str:
    if sign.isascii():
        return sign
    greek = _GREEK.match(unicodedata.name(sign, ""))
    if greek:
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    # An accent is taken off its letter; what has no ASCII form becomes a blank.
    return "".join(part for part in unicodedata.normalize("NFKD", sign) if part.isascii()) or " "
