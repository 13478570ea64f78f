"""Images of another catalog join ours, each batch with its recording, files, frames and original files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import tables as t
from micdb.catalog.rows import id_list, text_list
from micdb.exchange.joining import Merge, Row
from micdb.exchange.outgoing import grouped
from micdb.exchange.receiver import Incoming, Keys, copy_of
from micdb.exchange.shape import ACQUISITION, MICROGRAPH, SAME_IMAGE, SOURCE
from micdb.store.files import object_path

BATCH = 256  # images of one transaction: their files are copied before it begins

m, s, o = t.micrograph.c, t.source.c, t.object_.c


def join_images(merge: Merge) -> None:
    """Let all images join, batch by batch; each batch is one step."""
    keys = merge.supply.connection.execute(sa.select(m.pk).order_by(m.pk)).scalars().all()
    for some in grouped(keys, BATCH):
        _Batch(merge, some).join()


class _Batch:
    """A few images while they join."""

    def __init__(self, merge: Merge, keys: Sequence[int]) -> None:
        self.merge = merge
        self.rows = merge.theirs(t.micrograph, merge.of(m.pk, keys))
        self.sources = merge.theirs(t.source, merge.of(s.micrograph_pk, keys))
        wanted = {row["object_pk"] for row in self.rows if row["object_pk"] is not None}
        self.objects = merge.supply.objects(sorted(wanted))

    def join(self) -> None:
        files: dict[str, Incoming] = {}
        if not self.merge.supply.linked:
            files = self.merge.receiver.look(self._missing)
        numbers = {sha256: number for number, sha256 in enumerate(files)}
        self.merge.receiver.write(
            list(files.values()), lambda write, keys: self._write(write, _Files(numbers, keys))
        )
        held = {row.sha256: row.size for row in self.objects.values()}
        self.merge.report.files += len(files)
        self.merge.report.bytes += sum(held[sha256] for sha256 in files)

    def _missing(self, look: Connection) -> dict[str, Incoming]:
        """Return the files that are not here, of images that are unknown here or without pixels."""
        ours = self._known(look)
        wanted = [
            self.objects[row["object_pk"]]
            for row in self.rows
            if row["object_pk"] is not None
            and (row["pk"] not in ours or ours[row["pk"]]["object_pk"] is None)
        ]
        listed = text_list(look, [one.sha256 for one in wanted])
        here = look.execute(
            sa.select(o.sha256).where(o.state == "live", o.sha256.in_(sa.select(listed.c.value)))
        )
        live, root = set(here.scalars()), self.merge.supply.root
        return {
            one.sha256: copy_of(root / one.path, one.sha256, object_path(one.sha256))
            for one in wanted
            if one.sha256 not in live
        }

    def _write(self, write: Connection, files: _Files) -> None:
        merge = self.merge
        recorded = {row["acquisition_pk"] for row in self.rows}
        merge.join(write, ACQUISITION, merge.theirs(t.acquisition, merge.of(t.acquisition.c.pk, recorded)))
        ours = self._known(write)
        fresh = [row for row in self.rows if row["pk"] not in ours]
        made = [
            {**merge.translated(t.micrograph, row), "object_pk": self._object(write, row, files)}
            for row in fresh
        ]
        merge.insert(write, t.micrograph, made)
        merge.learn(write, t.micrograph, fresh)
        for row in self.rows:
            if row["pk"] in ours:
                self._meet(write, ours[row["pk"]], row, files)
        frames = merge.theirs(t.frame, merge.of(t.frame.c.micrograph_pk, [row["pk"] for row in fresh]))
        merge.join_keyed(write, t.frame, frames)
        self._join_thumbnails(write)
        merge.join(write, SOURCE, self.sources)

    def _join_thumbnails(self, write: Connection) -> None:
        """Let small pictures join, of images that have no pixels here."""
        keys = self.merge.keys["micrograph"]
        theirs = self.merge.theirs(
            t.thumbnail, self.merge.of(t.thumbnail.c.micrograph_pk, [row["pk"] for row in self.rows])
        )
        listed = id_list(write, [keys[row["micrograph_pk"]] for row in theirs])
        without = sa.select(m.pk).where(m.object_pk.is_(None), m.pk.in_(sa.select(listed.c.id)))
        mine = set(write.execute(without).scalars())
        self.merge.join_keyed(
            write, t.thumbnail, [row for row in theirs if keys[row["micrograph_pk"]] in mine]
        )

    def _meet(self, write: Connection, ours: Row, theirs: Row, files: _Files) -> None:
        """Compare an image with ours; of one that both ingested, what people say of it."""
        self.merge.keys["micrograph"][theirs["pk"]] = ours["pk"]
        same = ours["uid"] == theirs["uid"]
        self.merge.compare(write, MICROGRAPH, ours, theirs, only=None if same else SAME_IMAGE)
        if ours["object_pk"] is not None or theirs["object_pk"] is None:
            return
        pixels = write.scalar(sa.select(m.pixel_hash).where(m.pk == ours["pk"]))  # as they were settled
        if pixels != theirs["pixel_hash"]:
            self.merge.report.left_out.append(
                f"the pixels of image {ours['uid']}: they are others than those it was made from here"
            )
            return
        held = self._object(write, theirs, files)
        pixels_only = {"object_pk": held, "changed_at": m.changed_at}
        write.execute(t.micrograph.update().where(m.pk == ours["pk"]).values(pixels_only))
        write.execute(t.thumbnail.delete().where(t.thumbnail.c.micrograph_pk == ours["pk"]))
        self.merge.report.filled["micrograph"] += 1

    def _object(self, write: Connection, row: Row, files: _Files) -> int | None:
        if row["object_pk"] is None:
            return None
        wanted = self.objects[row["object_pk"]]
        if self.merge.supply.linked:
            return self._link(write, wanted)
        if wanted.sha256 in files:
            return files[wanted.sha256]
        held = write.scalar(sa.select(o.pk).where(o.sha256 == wanted.sha256, o.state == "live"))
        return None if held is None else int(held)

    def _link(self, write: Connection, row: Any) -> int:
        """Return the key of a file that is used where it is: its path is absolute here."""
        held = write.scalar(sa.select(o.pk).where(o.sha256 == row.sha256))
        if held is not None:
            return int(held)
        pack = None
        if row.pack_pk is not None:
            pack = self._link(write, self.merge.supply.objects([row.pack_pk])[row.pack_pk])
        made = {column.name: getattr(row, column.name) for column in t.object_.columns if column.name != "pk"}
        made |= {"path": str((self.merge.supply.root / row.path).resolve()), "pack_pk": pack}
        return int(write.execute(t.object_.insert().returning(o.pk), made).scalar_one())

    def _known(self, connection: Connection) -> dict[int, Row]:
        """Return our image for each of theirs: by uid, original file, or pixels that only one image has."""
        found = self.merge.found(connection, MICROGRAPH, self.rows)
        taken = {row["pk"] for row in found.values()}
        for look_up in (self._by_file, self._by_pixels):
            left = [row for row in self.rows if row["pk"] not in found]
            for pk, ours in look_up(connection, left).items() if left else ():
                if ours not in taken:  # two channels of one file are two images even when they are equal
                    taken.add(ours)
                    row = connection.execute(sa.select(t.micrograph).where(m.pk == ours)).mappings().one()
                    found[pk] = dict(row)
        return found

    def _by_file(self, connection: Connection, rows: Sequence[Row]) -> dict[int, int]:
        mine = {row["pk"] for row in rows}
        files = {(one["sha256"], one["position"]): one["micrograph_pk"] for one in self.sources
                 if one["sha256"] is not None and one["micrograph_pk"] in mine}  # fmt: skip
        listed = text_list(connection, {sha256 for sha256, _ in files})
        query = sa.select(s.sha256, s.position, s.micrograph_pk)
        ours = connection.execute(query.where(s.sha256.in_(sa.select(listed.c.value))))
        return {files[one, at]: pk for one, at, pk in ours if (one, at) in files}

    def _by_pixels(self, connection: Connection, rows: Sequence[Row]) -> dict[int, int]:
        wanted = {row["pixel_hash"]: row["pk"] for row in rows if row["pixel_hash"] and not _blank(row)}
        theirs, ours = (self._holders(one, wanted) for one in (self.merge.supply.connection, connection))
        only = [one for one in wanted if len(theirs.get(one, ())) == len(ours.get(one, ())) == 1]
        return {wanted[one]: ours[one][0] for one in only}

    @staticmethod
    def _holders(connection: Connection, hashes: Mapping[str, int]) -> dict[str, list[int]]:
        listed = text_list(connection, hashes)
        query = sa.select(m.pixel_hash, m.pk).where(
            m.pixel_hash.in_(sa.select(listed.c.value)), m.deleted_at.is_(None)
        )
        found: dict[str, list[int]] = {}
        for sha256, pk in connection.execute(query):
            found.setdefault(sha256, []).append(pk)
        return found


class _Files:
    """Keys of the files of a step by their hash; looking one up makes it live."""

    def __init__(self, numbers: Mapping[str, int], keys: Keys) -> None:
        self._numbers, self._keys = numbers, keys

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._numbers

    def __getitem__(self, sha256: str) -> int:
        return self._keys(self._numbers[sha256])


def _blank(row: Row) -> bool:
    """Return whether all pixels are equal: then two images with the same pixels may be anything."""
    return row["intensity_min"] is None or row["intensity_min"] == row["intensity_max"]
