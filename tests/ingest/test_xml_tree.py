"""XML that instruments write is read; what could be made to explode is not, in any encoding."""

from __future__ import annotations

import pytest

from micdb.ingest.xml_tree import xml_root

LAUGHS = "<!DOCTYPE a [<!ENTITY b 'ha'>]><a>&b;</a>"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_document_types_are_refused(encoding):
    with pytest.raises(ValueError, match="declares a document type"):
        xml_root(LAUGHS.encode(encoding))
    with pytest.raises(ValueError, match="declares a document type"):
        xml_root(LAUGHS)


def test_comments_and_declarations_are_read():
    written = "<?xml version='1.0' encoding='UTF-8'?><!-- a comment --><a b='1'>µ</a>"
    for form in (written, written.encode()):
        root = xml_root(form)
        assert (root.tag, root.get("b"), root.text) == ("a", "1", "µ")
