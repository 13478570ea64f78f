"""The .emi of TIA: a binary file with one ``<ObjectInfo>`` (XML) for each image or spectrum it shows.

FEI has published nothing about it. What is used here: the XML stands between its two tags; the name of the
``.ser`` file that an object belongs to stands a few bytes before its XML; objects without a name are pictures
inside the .emi and annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.ingest.xml_tree import xml_root

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SIGNATURE = b"JK\x00\x02"
_MARK = re.compile(rb"<(/?)ObjectInfo>")
_END = b"</ObjectInfo>"
_NAME = re.compile(rb"_(\d{1,6})\.ser.{0,40}\Z", re.DOTALL | re.IGNORECASE)
_BEFORE = 64  # [byte] before the XML, where the name of the .ser ends
_LARGEST = 1 << 22  # [byte] of one XML; some 7 kB in the files seen
_MOST = 256  # objects
_DEEPEST = 16  # levels of XML; 5 in the files seen
_NO_UNITS = ("", "x", "X")  # TIA writes magnifications in x


class Object(NamedTuple):
    """What the .emi says of one image: the number of its .ser (None for none), and the XML as a tree."""

    number: int | None
    tree: dict[str, Any]


def read_objects(path: Path, problems: list[str]) -> list[Object]:
    """Return the objects of a .emi that can be read; `problems` names the others."""
    found: list[Object] = []
    with path.open("rb") as file:
        for start, end in list(_places(file)):
            file.seek(max(start - _BEFORE, 0))
            name = _NAME.search(file.read(min(start, _BEFORE)))
            number = int(name[1]) if name else None
            try:
                found.append(Object(number, _tree(file.read(end - start))))
            except Exception as error:  # the XML library raises its own, recursion errors and ValueErrors
                problems.append(f"object information at byte {start} could not be read ({error})")
    return found


def object_of(objects: list[Object], number: int) -> Object | None:
    """Return the object of ``NAME_number.ser``; where no .ser is named, the only one that tells anything."""
    for known in objects:
        if known.number == number:
            return known
    telling = [known for known in objects if "ExperimentalDescription" in known.tree]
    unnamed = all(known.number is None for known in objects)
    return telling[0] if unnamed and len(telling) == 1 else None


def _places(file: Any) -> Iterator[tuple[int, int]]:
    """Yield where each ``<ObjectInfo>`` begins and ends, in one pass over a file of any size."""
    window, base, seen, start, count = b"", 0, -1, None, 0
    while (chunk := file.read(1 << 20)) and count < _MOST:
        window += chunk
        for mark in _MARK.finditer(window):
            at = base + mark.start()
            if at <= seen:
                continue
            seen = at
            if not mark[1]:
                start = at
            elif start is not None:
                end = at + len(_END)
                if end - start <= _LARGEST and count < _MOST:
                    yield start, end
                start, count = None, count + 1
        kept = window[-len(_END) :]
        base, window = base + len(window) - len(kept), kept


def _tree(content: bytes) -> dict[str, Any]:
    try:
        written = content.decode("utf-8")
    except UnicodeDecodeError:
        written = content.decode("latin-1")
    return {child.tag: _value(child, 0) for child in xml_root(written)}


def _value(element: Element, depth: int) -> Any:
    if element.tag == "ExperimentalDescription":
        return dict(_labelled(element))
    if len(element) == 0 or depth > _DEEPEST:
        return (element.text or "").strip()
    return {child.tag: _value(child, depth + 1) for child in element}


def _labelled(element: Element) -> Iterator[tuple[str, str]]:
    """Yield label and value with its unit: ``Stage X``, ``0.147 um``."""
    for data in element.iter("Data"):
        label, value, unit = ((data.findtext(name) or "").strip() for name in ("Label", "Value", "Unit"))
        yield label, value if unit in _NO_UNITS else f"{value} {unit}"
