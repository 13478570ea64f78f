"""When an array is more than the bytes it is said to be packed in: a small file must not fill the memory."""

from __future__ import annotations

BIG = 1 << 27  # [byte] below this an image may be as empty as it likes
RATIO = 300  # bytes of pixels per stored byte; micrographs stay below 20, deflate reaches 1032


def is_bomb(claimed: int, stored: int) -> bool:
    """Return whether an image of `claimed` bytes is too large and too empty to be read from `stored` ones."""
    return claimed > BIG and claimed > RATIO * stored
