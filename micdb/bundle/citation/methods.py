"""The methods paragraph of a paper, made from the verbs, counts, runs and properties of one query."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from micdb.bundle.citation.evidence import Evidence
from micdb.bundle.citation.links import CitableLink
from micdb.bundle.citation.rows import Rows
from micdb.provenance import package_version
from micdb.query import verbs
from micdb.query.frame import Frame

_COUNTED = (
    verbs.Filter,
    verbs.Slice,
    verbs.Sample,
    verbs.Distinct,
    verbs.Similar,
    verbs.Explode,
    verbs.Group,
)
REASONS = 3  # reasons of refusals that are told


def paragraph(rows: Rows, evidence: Evidence, links: Sequence[CitableLink] = ()) -> str:
    """Return what was done, in sentences: selection with counts, images, methods, properties, links."""
    parts = [
        _selection(rows, evidence), _images(evidence.images), *map(_run, evidence.runs),
        *_properties(rows.frame, evidence.properties), *(link.methods() for link in links), _moment(evidence),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _selection(rows: Rows, evidence: Evidence) -> str:
    frame = rows.frame
    now = Frame(frame.context, frame.base, vocabulary=frame.vocabulary)
    told = [f"The database ({_stood(evidence)}) held {_number(now.count())} {now.noun}."]
    for step in frame.steps:
        now = now.then(step)
        said = _SAID.get(type(step))
        if said is not None:
            left = f" ({_number(now.count())} {now.noun})" if isinstance(step, _COUNTED) else ""
            told.append(f"{said(step)}{left}.")
    if rows.table.num_rows < rows.whole:
        told.append(
            f"Of these rows {_number(rows.table.num_rows)} of {_number(rows.whole)} were taken by hand."
        )
    return " ".join(told)


def _stood(evidence: Evidence) -> str:
    return f"micdb {package_version()}, {evidence.moment.text}"


def _images(images: Sequence[Mapping[str, Any]]) -> str:
    if not images:
        return ""
    said = [f"{_number(len(images))} images stand behind the rows"]
    for what, word in (("sample", "samples"), ("material", "materials"), ("lab", "laboratories")):
        known = sorted({image[what] for image in images if image[what]})
        if known:
            said.append(f"{word}: {_listed(known)}")
    scopes = Counter(_scope(image) for image in images)
    said.append("instruments: " + ", ".join(f"{name} ({_number(n)})" for name, n in scopes.most_common()))
    kinds = Counter(image["modality"] or "unknown" for image in images)
    said.append("modality: " + ", ".join(f"{name} ({_number(n)})" for name, n in kinds.most_common()))
    sizes = [image["pixel_size_nm"] for image in images if image["pixel_size_nm"] is not None]
    unknown = len(images) - len(sizes)
    if sizes:
        said.append(f"pixel size: {min(sizes):.6g} to {max(sizes):.6g} nm" if len(set(sizes)) > 1
                    else f"pixel size: {sizes[0]:.6g} nm")  # fmt: skip
    if unknown:
        said.append(f"of unknown pixel size: {_number(unknown)}")
    return "; ".join(said) + "."


def _scope(image: Mapping[str, Any]) -> str:
    name = " ".join(filter(None, (image["vendor"], image["instrument"])))
    return name or "unknown"


def _run(run: Mapping[str, Any]) -> str:
    card, states = run["card"] or {}, run["images"]
    summary = str(card.get("summary", "")).rstrip(".")
    said = [
        f"{run['name']} version {run['version']}: {summary}."
        if summary
        else f"{run['name']} version {run['version']}."
    ]
    given = ", ".join(
        f"{name} = {json.dumps(value)}" for name, value in sorted((run["parameters"] or {}).items())
    )
    said.append(f"Parameters: {given}." if given else "It has no parameters.")
    if run["weights_hash"]:
        said.append(f"Weights: sha256 {run['weights_hash']}.")
    software = ", ".join(f"{name} {version}" for name, version in sorted((run["software"] or {}).items()))
    said.append(f"Run {run['uid']} ({software}; {run['device']}).")
    if states:
        counts = ", ".join(f"{_number(n)} {state}" for state, n in states.items())
        said.append(f"Of the images above: {counts}.")
    for reason, n in list(run["refusals"].items())[:REASONS]:
        said.append(f"Refused ({_number(n)}): {str(reason).rstrip('.')}.")
    reference = str(card.get("reference") or "").rstrip(".")
    if reference and not reference.startswith("none"):
        said.append(f"Method: {reference}.")
    return " ".join(said)


def _properties(frame: Frame, properties: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    asked = {step.name: step for step in frame.steps if isinstance(step, verbs.WithProperty)}
    for name, known in properties.items():
        unit = f" [{known['unit']}]" if known["unit"] else ""
        step = asked.get(name)
        sheets = _listed(known["sheets"]) or "no sheet"
        said = [f"{name}{unit}: {_number(known['n'])} values in the database, from {sheets}."]
        if known["methods"]:
            said.append(f"Measured by {_listed(known['methods'])}.")
        if step is not None:
            only = [f"measured by {step.method}"] if step.method else []
            only += [f"{what[0]} {' to '.join(map(str, what[1:]))}" for what in step.conditions]
            limit = f", only {', '.join(only)}" if only else ""
            said.append(
                f"{name} is the {step.agg} of the values of each {step.level}{limit}; {name}_sd is their "
                f"standard deviation (n - 1), of a single value the stated one; {name}_n is their number."
            )
            if step.interval:
                said.append(f"{name}_low and {name}_high are the interval stated with a single value.")
        else:
            said.append("Where an image or sample has several, it is their mean.")
        yield " ".join(said)


def _moment(evidence: Evidence) -> str:
    if evidence.moment.snapshot:
        return ""
    return "The database goes on changing; a snapshot (db.snapshot(NAME)) would answer the same for ever."


def _filter(step: verbs.Filter) -> str:
    return f"Rows with `{step.mask}` were kept"


def _slice(step: verbs.Slice) -> str:
    return f"Rows {step.start + 1} to {'the last' if step.stop is None else step.stop} were taken"


def _sort(step: verbs.Sort) -> str:
    ways = ("ascending" if up else "descending" for up in step.ascending)
    return "Rows were sorted by " + ", ".join(
        f"{name} ({way})" for name, way in zip(step.by, ways, strict=True)
    )


def _similar(step: verbs.Similar) -> str:
    by = f" in the vectors of {step.by}" if step.by else ""
    example = step.query if isinstance(step.query, str) else "the given example"
    return f"The {step.k} most similar to {example}{by} were kept"


def _group(step: verbs.Group) -> str:
    made = ", ".join(f"{name} = {function} of {column}" for name, column, function in step.aggregates)
    return f"Rows were grouped by {', '.join(step.keys)}: {made}"


def _assign(step: verbs.Assign) -> str:
    return "; ".join(f"{name} is `{expr}`" for name, expr in step.columns)


_SAID: dict[type[Any], Callable[[Any], str]] = {
    verbs.Filter: _filter,
    verbs.Slice: _slice,
    verbs.Sort: _sort,
    verbs.Similar: _similar,
    verbs.Group: _group,
    verbs.Assign: _assign,
    verbs.Sample: lambda step: f"{step.n} rows were drawn at random (seed {step.seed})",
    verbs.Distinct: lambda step: f"Of rows with equal {', '.join(step.by)} the first was kept",
    verbs.Explode: lambda step: f"Each of their {step.table} became a row",
    verbs.Using: lambda step: f"Results are those of {step.analysis}@{step.version}",
    verbs.Merge: lambda step: f"A table of {step.table.num_rows} rows was joined by {_keys(step.keys)}",
    verbs.Join: lambda step: f"{step.other.base} were joined by {_keys(step.keys)}",
}


def _keys(keys: verbs.Keys) -> str:
    return ", ".join(name for name, _ in keys.pairs)


def _listed(names: Sequence[str], *, most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _number(n: int) -> str:
    return f"{n:,}"
