"""What an independent validator finds wrong with an RO-Crate: pyshacl, by the shapes of rocrate-validator.

The shapes are those of what the specification 1.1 demands (MUST), as rocrate-validator 0.13.0 has them:
https://github.com/crs4/rocrate-validator, CRS4, Apache License 2.0. That program itself needs rich below 14.
The context of the crate is taken from the library rocrate, since the specification's is on the internet.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pyshacl import validate
from rdflib import RDF, SH, Graph

SHAPES = Path(__file__).with_name("shapes")
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
BASE = "http://crate/"  # any: what identifiers within the crate are relative to


@cache
def context() -> Any:
    """Return the context of RO-Crate 1.1."""
    return json.loads((files("rocrate") / "data" / "ro-crate.jsonld").read_text("utf-8"))["@context"]


@cache
def shapes() -> tuple[Graph, Graph]:
    """Return the shapes, and the classes that they speak of."""
    demanded, classes = Graph(), SHAPES / "ontology.ttl"
    for path in sorted(set(SHAPES.glob("*.ttl")) - {classes}):
        demanded.parse(path, publicID=BASE)
    return demanded, Graph().parse(classes, publicID=BASE)


def faults(folder: Path) -> list[str]:
    """Return what is wrong with the crate in a folder, one sentence for each fault."""
    said = json.loads((folder / "ro-crate-metadata.json").read_text("utf-8"))
    assert said["@context"] == CONTEXT
    crate = Graph().parse(data=json.dumps({**said, "@context": context()}), format="json-ld", publicID=BASE)
    demanded, classes = shapes()
    _, report, _ = validate(
        crate, shacl_graph=demanded, ont_graph=classes, inference="owlrl", advanced=True, iterate_rules=True
    )
    assert isinstance(report, Graph)
    found = report.subjects(RDF.type, SH.ValidationResult)
    return sorted({str(text) for one in found for text in report.objects(one, SH.resultMessage)})
