"""The records that archives and journals read: DataCite JSON and CITATION.cff.

References
----------
DataCite Metadata Schema 4.5, https://schema.datacite.org/meta/kernel-4.5.
Citation File Format 1.2.0, https://doi.org/10.5281/zenodo.5171937.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from micdb.bundle.citation.whom import Citation, Creator
from micdb.provenance import package_version

SCHEMA = "http://datacite.org/schema/kernel-4"
SPDX = "https://spdx.org/licenses/"
# Licences of data whose SPDX identifiers CITATION.cff takes; any other text is in the other files only.
_SPDX = frozenset(
    {"CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0",
     "CC-BY-NC-ND-4.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0", "MIT", "BSD-3-Clause", "Apache-2.0"}
)  # fmt: skip


def datacite(
    citation: Citation, *, description: str, subjects: Sequence[str], licences: Sequence[str],
    sizes: Sequence[str], date: str,
) -> dict[str, Any]:  # fmt: skip
    """Return the DataCite record; the DOI is for whoever mints it.

    Parameters
    ----------
    citation
        Who, what, where, when.
    description
        What is in the folder: the methods paragraph.
    subjects
        Materials.
    licences
        Of the images, as the catalog has them.
    sizes
        Numbers of rows and images, in words.
    date
        When the folder was written, ISO 8601.
    """
    record: dict[str, Any] = {
        "schemaVersion": SCHEMA,
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Query result"},
        "titles": [{"title": citation.title}],
        "creators": [_creator(one) for one in citation.creators],
        "publisher": {"name": citation.publisher},
        "publicationYear": str(citation.year),
        "dates": [{"date": date[:10], "dateType": "Created"}],
        "formats": ["text/csv", "application/vnd.apache.parquet"],
        "sizes": list(sizes),
        "version": date[:10],
        "descriptions": [{"description": description, "descriptionType": "Methods"}],
        "subjects": [{"subject": subject} for subject in subjects],
        "rightsList": [_rights(licence) for licence in licences],
    }
    return {name: value for name, value in record.items() if value}


def cff(citation: Citation, *, licences: Sequence[str], date: str, abstract: str) -> str:
    """Return the text of CITATION.cff; JSON's spelling of a text is one of YAML's."""
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this data, please cite it as below.",
        "type: dataset",
        f"title: {_text(citation.title)}",
        "authors:",
        *(line for one in citation.creators for line in _author(one)),
        f"date-released: {_text(date[:10])}",
        f"abstract: {_text(abstract)}",
    ]
    if len(licences) == 1 and licences[0] in _SPDX:
        lines.append(f"license: {licences[0]}")
    lines += [
        "references:",
        "  - type: software",
        "    title: micdb",
        f"    version: {_text(package_version())}",
        "    authors:",
        "      - name: The micdb developers",
    ]
    return "\n".join(lines) + "\n"


def _creator(one: Creator) -> dict[str, Any]:
    made: dict[str, Any] = {"name": one.name}
    if one.organisation:
        made["nameType"] = "Organizational"
    if one.parts:
        made |= {"nameType": "Personal", "familyName": one.parts[0], "givenName": one.parts[1]}
    if one.orcid:
        made["nameIdentifiers"] = [
            {
                "nameIdentifier": _orcid(one.orcid),
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        ]
    if one.affiliation:
        made["affiliation"] = [{"name": one.affiliation}]
    return made


def _author(one: Creator) -> list[str]:
    if one.parts:
        lines = [f"  - family-names: {_text(one.parts[0])}", f"    given-names: {_text(one.parts[1])}"]
        lines += [f"    affiliation: {_text(one.affiliation)}"] if one.affiliation else []
    else:
        lines = [f"  - name: {_text(one.name)}"]
    return lines + ([f"    orcid: {_text(_orcid(one.orcid))}"] if one.orcid else [])


def _orcid(orcid: str) -> str:
    return f"https://orcid.org/{orcid[-19:]}"  # the identifier itself has 19 characters


def _rights(licence: str) -> dict[str, str]:
    if licence in _SPDX:
        return {
            "rights": licence, "rightsIdentifier": licence.lower(), "rightsIdentifierScheme": "SPDX",
            "rightsUri": f"{SPDX}{licence}.html", "schemeUri": SPDX,
        }  # fmt: skip
    if licence.startswith(("https://", "http://")):
        return {"rights": licence, "rightsUri": licence}
    return {"rights": licence}


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
