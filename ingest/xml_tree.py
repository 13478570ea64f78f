"""XML of instruments, without the document types by which a few bytes are made to explode."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def xml_root(written: bytes | str) -> Element:
    """Return the root element.

    expat from 2.4.1 on bounds what entities expand to; the system's may be older, and no instrument
    needs them.

    Raises
    ------
    ValueError
        The text declares a document type or entities, or an encoding that Python does not know.
    xml.etree.ElementTree.ParseError
        It is no well-formed XML.
    """
    from xml.etree.ElementTree import fromstring

    if declares_entities(written):
        raise ValueError("the XML declares a document type, which could be made to explode: it is not read")
    return fromstring(written)  # noqa: S314 (no entities, see above)


def declares_entities(written: bytes | str) -> bool:
    """Return whether a text has a document type or entities, in any encoding that expat knows."""
    plain = (written.encode("utf-8", "replace") if isinstance(written, str) else written).replace(b"\0", b"")
    return re.search(rb"<!(?:DOCTYPE|ENTITY)", plain) is not None
