"""The folder as an RO-Crate: its files, authors, publisher, licences and the program that wrote it.

References
----------
RO-Crate Metadata Specification 1.1, https://w3id.org/ro/crate/1.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from micdb.bundle.citation.whom import Citation, Creator
from micdb.exchange.crate import CRATE, VERSION, licence
from micdb.provenance import file_hash, package_version

_FORMATS = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".md": "text/markdown",
    ".skops": "application/zip",
    ".bib": "application/x-bibtex",
    ".cff": "application/yaml",
}


def write_crate(
    folder: Path, citation: Citation, *, description: str, licences: Sequence[str], date: str,
    meanings: Mapping[str, str],
) -> None:  # fmt: skip
    """Write ``ro-crate-metadata.json`` about every file that is in the folder.

    Parameters
    ----------
    folder
        The folder, whole but for this file.
    citation
        Who, what, where, when.
    description
        What is in it.
    licences
        Of the images, as the catalog has them.
    date
        When it was written, ISO 8601.
    meanings
        What each file is; of a file in a folder, what the folder is.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    def add(identifier: str, **properties: Any) -> Any:
        return crate.add(ContextEntity(crate, identifier, properties=properties))

    crate: Any = ROCrate(version=VERSION)
    crate.name, crate.description, crate.datePublished = citation.title, description, date
    terms = [crate.add(ContextEntity(crate, *licence(one))) for one in licences or ("unknown",)]
    crate.license = terms[0] if len(terms) == 1 else terms
    people = [
        add(_identifier(one, number), **_properties(one)) for number, one in enumerate(citation.creators, 1)
    ]
    for person, one in zip(people, citation.creators, strict=True):
        if one.affiliation:
            home = {"@type": "Organization", "name": one.affiliation}
            person["affiliation"] = add(f"#affiliation-{quote(one.affiliation, safe='')}", **home)
    crate.creator = crate.root_dataset["author"] = people
    crate.publisher = add("#publisher", **{"@type": "Organization", "name": citation.publisher})
    program = {"@type": "SoftwareApplication", "name": "micdb", "softwareVersion": package_version()}
    crate.root_dataset["instrument"] = add("#micdb", **program)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        said = {
            "name": name, "description": meanings[name.partition("/")[0]], "sha256": file_hash(path),
            "encodingFormat": _FORMATS[path.suffix], "contentSize": str(path.stat().st_size),
        }  # fmt: skip
        crate.add_file(path, dest_path=name, properties=said)
    text = json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False)
    (folder / CRATE).write_text(text + "\n", "utf-8")


def _identifier(one: Creator, number: int) -> str:
    return f"https://orcid.org/{one.orcid[-19:]}" if one.orcid else f"#creator-{number}"


def _properties(one: Creator) -> dict[str, str]:
    made = {"@type": "Organization" if one.organisation else "Person", "name": one.name}
    if one.parts:
        made |= {"familyName": one.parts[0], "givenName": one.parts[1]}
    return made
