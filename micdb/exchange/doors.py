"""The doors of `micdb.database.Database` for what leaves to other laboratories and comes from them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import pandas as pd

from micdb.catalog import statistics
from micdb.errors import UsageError
from micdb.exchange import conflicts, terms
from micdb.exchange.arriving import import_bundle
from micdb.exchange.report import Imported
from micdb.exchange.written import BundleWritten, Order, Watcher, write_bundle
from micdb.query.frame import Frame
from micdb.query.tables import Tables

PathText = str | PathLike[str]


class Exchanges(Tables):
    """The part of `micdb.database.Database` that other laboratories are met through."""

    def export_bundle(
        self,
        frame: Frame,
        path: PathText,
        *,
        level: str = "full",
        overwrite: bool = False,
        watch: Watcher | None = None,
    ) -> BundleWritten:
        """Write the images of a frame as a bundle; what ``db.export(..., as_="bundle")`` does.

        Parameters
        ----------
        frame
            A frame of images.
        path
            Folder to make, or a name that ends in ``.zip``.
        level
            ``metadata``, ``thumbnails``, ``derived`` or ``full``.
        overwrite
            Whether a bundle of that name may be replaced.
        watch
            Called before each image with number, total and file.

        Raises
        ------
        UsageError, StoreError
            See `micdb.exchange.written.write_bundle`.
        """
        context = self.context
        images = list(dict.fromkeys(frame.pks().tolist()))
        name = context.root.resolve().name
        try:
            query = frame.to_json()
        except UsageError:  # it searches by an array, which has no place in a text
            query = None
        order = Order(context.engine, context.root, images, level, query, source=name)
        return write_bundle(order, Path(path), overwrite=overwrite, watch=watch)

    def import_bundle(
        self,
        path: PathText,
        *,
        dry_run: bool = False,
        policy: str = "ours",
        names: Mapping[str, str] | None = None,
    ) -> Imported:
        """Import a bundle of another laboratory; see docs/exchange.md.

        What is here already is recognised, so that a second import changes nothing; one that was killed is
        finished by the same call.

        Parameters
        ----------
        path
            The bundle, a folder or zip file.
        dry_run
            Only say what would happen.
        policy
            Which version of a row stays current where both have one: ``ours``, ``theirs``, ``newest``
            (written or changed last); or ``fail``: nothing is imported then. The other version is kept:
            `conflicts`.
        names
            Our name for one of their materials or properties, ``{"HV": "hardness"}``; it is remembered.

        Raises
        ------
        NotFoundError, ForeignDatabaseError, NewSchemaError, StoreError, UsageError
            See `micdb.exchange.arriving.import_bundle`; nothing was imported then.
        """
        context = self.context
        done = import_bundle(
            context.engine, context.root, Path(path), dry_run=dry_run, policy=policy, names=names
        )
        if not dry_run:
            statistics.refresh(context.engine)
        return done

    def conflicts(self) -> pd.DataFrame:
        """Return what imports found to be different elsewhere; see `micdb.exchange.conflicts.listed`."""
        return conflicts.listed(self.context.engine)

    def set_terms(self, where: str | Frame, **terms_: str | None) -> int:
        """Write on which terms images may leave the database; return how many images.

        Parameters
        ----------
        where
            Query text, or a frame of images.
        **terms_
            ``licence``, an SPDX identifier or any text; ``embargo_until``, a date. None takes one away.

        Raises
        ------
        UsageError
            Nothing is asked for, something else is, or the embargo is no date.
        """
        if unknown := terms_.keys() - {"licence", "embargo_until"}:
            raise UsageError(
                f"no such terms: {', '.join(sorted(unknown))}; give licence, embargo_until or both"
            )
        frame = self.images.query(where) if isinstance(where, str) else where
        return terms.set_terms(self.context.engine, frame.pks().tolist(), terms_)
