"""The proof that nothing is lost: every byte against the row that names it, and back.

Repair is conservative: it sweeps what dead processes left half-made, frees expired claims, and moves
unknown files to ``quarantine/``. It never touches anything a live row names.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb.catalog.engine import reading
from micdb.catalog.results import part, run_item
from micdb.catalog.tables import micrograph, object_
from micdb.fsck.contents import check_embeddings, check_parts, check_rollups
from micdb.fsck.indexes import check_indexes
from micdb.fsck.packs import check_leftovers, check_packs
from micdb.fsck.quarantined import check_quarantined
from micdb.fsck.report import Finding, Report, Scope
from micdb.fsck.rows import check_catalog, check_leases, check_properties, check_references, check_results
from micdb.fsck.server import check_counters
from micdb.fsck.snapshots import check_snapshots
from micdb.fsck.storage import check_files, check_objects, check_pending, check_staging

__all__ = ["Finding", "Report", "check"]

# Sweeping comes first: what a dead process left must not be reported twice.
CHECKS = (
    check_counters,
    check_staging,
    check_pending,
    check_files,
    check_leftovers,
    check_snapshots,
    check_quarantined,
    check_objects,
    check_packs,
    check_references,
    check_parts,
    check_embeddings,
    check_indexes,
    check_rollups,
    check_leases,
    check_results,
    check_properties,
)


def check(
    engine: Engine,
    root: Path,
    *,
    deep: bool = False,
    repair: bool = False,
    grace: timedelta = timedelta(days=14),
) -> Report:
    """Check a database, and mend it when asked to; safe while others read and write.

    Parameters
    ----------
    engine
        The catalog.
    root
        The database folder.
    deep
        Also read every file: hashes, ranges, lengths of vectors, all roll-ups.
    repair
        Sweep what dead processes left, free expired claims, quarantine unknown files.
    grace
        How long a pending object is left alone when its publisher may be on another machine, that is,
        when the catalog is on a server.

    Returns
    -------
    Report
        Every finding, repaired ones included.
    """
    scope = Scope(engine, root, deep, repair, grace)
    findings = list(check_catalog(scope))
    if any(one.severity == "error" for one in findings):  # nothing that rows say can be relied on
        return Report(tuple(findings), {})
    for look in CHECKS:
        findings.extend(look(scope))
    return Report(tuple(findings), _counts(engine))


def _counts(engine: Engine) -> dict[str, int]:
    tables = {"micrographs": micrograph, "objects": object_, "parts": part, "run_items": run_item}
    with reading(engine) as connection:
        counts = {
            name: int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
            for name, table in tables.items()
        }
        on_disk = sa.and_(object_.c.state == "live", object_.c.pack_pk.is_(None))
        live = sa.select(sa.func.coalesce(sa.func.sum(object_.c.size), 0)).where(on_disk)
        return {**counts, "live_bytes": int(connection.scalar(live) or 0)}
