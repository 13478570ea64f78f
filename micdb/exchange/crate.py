"""What makes a bundle a thing by itself: an RO-Crate, and a README for people without micdb.

References
----------
RO-Crate Metadata Specification 1.1, https://w3id.org/ro/crate/1.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from micdb.exchange.manifest import NAME, Manifest
from micdb.exchange.shape import holds

CRATE = "ro-crate-metadata.json"
README = "README.md"
VERSION = "1.1"  # of RO-Crate

_FORMATS = {
    ".parquet": "application/vnd.apache.parquet",
    ".nxs": "application/x-hdf5",
    ".png": "image/png",
    ".json": "application/json",
    ".md": "text/markdown",
}
_SPDX = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*-[0-9][A-Za-z0-9.+-]*|0BSD|MIT|ISC|Unlicense|Zlib")

_PAGE = """# {title}

{images:,} micrographs of {labs}, written by micdb on {date}; level `{level}`. pandas with pyarrow, and
h5py for pixels, are all that is needed to read it. With micdb: `micdb import THIS_FOLDER --db lab.micdb`.

{withheld}\
| file | what it is |
|---|---|
| `manifest.json` | query, level, schema revision, and sha256 and size of every other file |
| `catalog/<table>.parquet` | images (`micrograph`), samples, properties, ...; `*_uid` refers to a `uid` |
{rows}| `ro-crate-metadata.json` | the same list as an RO-Crate {version} |

Units and meanings of columns are in the metadata of the Parquet fields; settings, axes and other JSON are
text. Times are as the laboratory claims them.

```python
from pathlib import Path

import pandas as pd

table = {{path.stem: pd.read_parquet(path) for path in sorted(Path("catalog").glob("*.parquet"))}}
images = table["micrograph"]
if "sample" in table:
    samples = table["sample"][["uid", "name"]].add_prefix("sample_")
    images = images.merge(samples, on="sample_uid", how="left")
print(images[["uid", "name", "modality", "pixel_size"]])

if "property_value" in table:
    definitions = table["property_def"][["uid", "name", "unit"]].add_prefix("property_def_")
    values = table["property_value"].merge(definitions, on="property_def_uid")
    print(values[["property_def_name", "value", "property_def_unit", "text"]])
{more}```
"""

_DERIVED = """
for folder in sorted(Path("parts").glob("*")):  # atoms, embeddings, phases, ...: what runs found in images
    found = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    print(folder.name, len(found), "rows of", found["image"].nunique(), "images")
"""

_FULL = """
import h5py

for sha256 in images["object_sha256"].dropna():
    with h5py.File(Path("objects", sha256[:2], f"{sha256}.nxs")) as file:
        image = file["entry/image"]
        print(sha256[:8], image["data"].shape, image["data"].dtype, float(image["data"][...].mean()))
"""

_ROWS = {
    "thumbnails": "| `thumbnails/<uid>.png` | a small picture of each image |\n",
    "derived": "| `parts/<table>/*.parquet` | what runs found; `image` and `run` are uids |\n",
    "full": "| `objects/ab/<sha256>.nxs` | pixels and vendor metadata of each image: NeXus, an HDF5 file |\n",
}


def write_readme(folder: Path, manifest: Manifest) -> None:
    """Write the page that says how to open the bundle without micdb."""
    more = "".join(
        text for level, text in (("derived", _DERIVED), ("full", _FULL)) if holds(manifest.level, level)
    )
    rows = "".join(row for level, row in _ROWS.items() if holds(manifest.level, level))
    count = sum(manifest.withheld.values())
    why = ", ".join(f"{number} by {reason}" for reason, number in sorted(manifest.withheld.items()))
    page = _PAGE.format(
        title=_title(manifest),
        images=manifest.images,
        labs=", ".join(manifest.labs) or "a laboratory that is not named",
        date=manifest.created_at[:10],
        level=manifest.level,
        withheld=f"{count:,} images of the query may not leave their laboratory: {why}.\n\n" if count else "",
        rows=rows,
        version=VERSION,
        more=more,
    )
    (folder / README).write_text(page, "utf-8")


def write_crate(folder: Path, manifest: Manifest, licences: Sequence[str], rors: Mapping[str, str]) -> None:
    """Write ``ro-crate-metadata.json``.

    Parameters
    ----------
    folder
        The bundle, whole but for this file and the manifest.
    manifest
        What it is.
    licences
        Of the images, as the catalog has them.
    rors
        Identifiers at ror.org of those laboratories that have one, by name.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate: Any = ROCrate(version=VERSION)
    crate.name = _title(manifest)
    crate.description = (
        f"{manifest.images} micrographs with their samples and properties, level {manifest.level}; "
        f"see {README} and {NAME}"
    )
    crate.datePublished = manifest.created_at
    crate.license = _one_or_all(
        [crate.add(ContextEntity(crate, *licence(one))) for one in licences or ("unknown",)]
    )
    labs = [crate.add(ContextEntity(crate, *_lab(name, rors.get(name)))) for name in manifest.labs]
    if labs:
        crate.creator = _one_or_all(labs)
        crate.root_dataset["author"] = _one_or_all(labs)
        crate.publisher = labs[0]
    for name, member in manifest.members.items():
        facts = {"contentSize": str(member.size), "sha256": member.sha256}
        _add_file(crate, folder, name, facts)
    _add_file(crate, folder, NAME, {})
    text = json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False)
    (folder / CRATE).write_text(text + "\n", "utf-8")


def _add_file(crate: Any, folder: Path, name: str, facts: dict[str, str]) -> None:
    path = folder / name
    said = {"name": name, "encodingFormat": _FORMATS[path.suffix], **facts}
    crate.add_file(path, dest_path=name, properties=said)


def licence(name: str) -> tuple[str, dict[str, str]]:
    """Return identifier and properties of a licence: a URL as given, an SPDX identifier as its URL."""
    if name.startswith(("https://", "http://")):
        return name, {"@type": "CreativeWork", "name": name}
    if _SPDX.fullmatch(name):
        return f"https://spdx.org/licenses/{name}", {"@type": "CreativeWork", "name": name}
    said = "Licence not stated: ask the laboratories" if name == "unknown" else name
    return f"#licence-{_slug(name)}", {"@type": "CreativeWork", "name": said}


def _lab(name: str, ror: str | None) -> tuple[str, dict[str, str]]:
    """Return identifier and properties of a laboratory."""
    said = {"@type": "Organization", "name": name}
    if ror is None:
        return f"#lab-{_slug(name)}", said
    url = ror if ror.startswith("https://") else f"https://ror.org/{ror}"
    return url, {**said, "url": url}


def _one_or_all(entities: list[Any]) -> Any:
    return entities[0] if len(entities) == 1 else entities


def _slug(name: str) -> str:
    """Return a name as a part of an identifier within the crate; different names give different ones."""
    return quote(name.strip().replace(" ", "-"), safe="")


def _title(manifest: Manifest) -> str:
    return f"Micrographs of {', '.join(manifest.labs) or manifest.source}"
