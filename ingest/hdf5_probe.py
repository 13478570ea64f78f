"""What stands in an open HDF5 file, asked for with care: nothing here hangs, crashes or leaves the file.

Only numbers and text are read: a text attribute whose damaged type had become a sequence crashed HDF5. Links
are followed within the file alone: external links, external storage and virtual datasets name files of the
reader's computer, and those are none of the sender's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from micdb.ingest.bombs import is_bomb

if TYPE_CHECKING:
    import h5py

OBJECT_LIMIT = 20_000  # groups and datasets that are looked at in one file
DEPTH_LIMIT = 40
_LINK_LIMIT = 16  # soft links that lead to soft links
TEXT_LIMIT = 1 << 24  # [byte] largest dataset that is read as metadata
_ATTRIBUTE_LIMIT = 1 << 20  # [byte]
_TREE_LIMIT = 1 << 26  # [byte] of metadata that is kept of one file
_TOGETHER = 64  # texts of variable length read at once: all of them may be one and the same place in the file
_CHUNK_LIMIT = 1 << 30  # [byte] HDF5 allocates a whole chunk for one pixel
_BOMB_FLOOR = 1 << 26  # [byte] below this a dataset may be as empty as it likes
_BOMB = 10_000  # bytes claimed per byte stored; deflate reaches 1030


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes that are numbers or text; those that cannot be read are left out."""
    try:
        names = list(item.attrs)
    except (OSError, RuntimeError, KeyError):
        return {}
    found: dict[str, Any] = {}
    room = _TREE_LIMIT
    for name in names[:OBJECT_LIMIT]:
        said = attribute(item, name)
        room -= _size(said)
        if room < 0:
            break
        if said is not None:
            found[name] = said
    return found


def attribute(item: Any, name: str) -> Any:
    """Return one attribute, or None where it is missing, damaged, or neither numbers nor text."""
    import h5py

    try:
        found = h5py.h5a.open(item.id, name.encode("utf-8", "surrogateescape"))
        kind = found.get_type()
        multiplied = _varies(kind) and math.prod(found.shape) > _TOGETHER
        if found.get_storage_size() <= _ATTRIBUTE_LIMIT and _plain(kind) and not multiplied:
            return _decoded(item.attrs[name])
    except Exception:  # damage of any kind; metadata that cannot be read is unknown
        return None
    return None


def value(dataset: h5py.Dataset) -> Any:
    """Return a small dataset as text, number or array; None where it is neither small nor numbers or text."""
    if dataset.size is None or _too_large(dataset) or not _plain(dataset.id.get_type()):
        return None
    if _kept_elsewhere(dataset) or _missing_filter(dataset):
        return None
    if _varies(dataset.id.get_type()) and dataset.id.get_create_plist().get_nfilters():
        return None  # the lengths of its texts are packed, and cannot be looked at beforehand
    if dataset.size > _TOGETHER and _varies(dataset.id.get_type()):
        return _texts(dataset)
    return _decoded(dataset[()])


def _texts(dataset: h5py.Dataset) -> list[Any] | None:
    """Return many texts of variable length, some at a time, unless they are too much together."""
    if dataset.ndim != 1:
        return None
    found: list[Any] = []
    room = TEXT_LIMIT
    for start in range(0, len(dataset), _TOGETHER):
        read = _decoded(dataset[start : start + _TOGETHER])
        room -= _size(read)
        if room < 0:
            return None
        found.extend(read)
    return found


def _varies(kind: Any) -> bool:
    """Return whether a type holds text of variable length, which stands elsewhere in the file."""
    import h5py

    if kind.get_class() == h5py.h5t.STRING:
        return bool(kind.is_variable_str())
    if kind.get_class() == h5py.h5t.COMPOUND:
        return any(_varies(kind.get_member_type(at)) for at in range(kind.get_nmembers()))
    return kind.get_class() == h5py.h5t.ARRAY and _varies(kind.get_super())


def _size(said: Any) -> int:
    """Return about how much memory [byte] a value takes."""
    if isinstance(said, list):
        return sum(_size(one) for one in said)
    return len(said) if isinstance(said, str | bytes) else int(getattr(said, "nbytes", 16))


def _too_large(dataset: h5py.Dataset) -> bool:
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    return bool(dataset.nbytes > TEXT_LIMIT or chunk > 4 * TEXT_LIMIT)


def _decoded(found: Any) -> Any:
    if isinstance(found, str):  # h5py keeps bytes that are not UTF-8 as surrogates
        found = found.encode("utf-8", "surrogateescape")
    if isinstance(found, bytes):
        return _text(found).rstrip("\0")
    if getattr(found, "dtype", None) is not None and found.dtype.kind in "SO":
        listed = [_decoded(part) for part in found.ravel().tolist()]
        return listed[0] if found.shape == () and listed else listed
    return found.item() if hasattr(found, "item") and getattr(found, "ndim", 1) == 0 else found


def _text(found: bytes) -> str:
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError:
        return found.decode("latin-1")  # "µm" of a Western European computer


def _plain(kind: Any, depth: int = 0) -> bool:
    """Return whether a type is made of numbers and text: sequences and references crash when damaged."""
    import h5py

    number = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.STRING)
    if kind.get_class() in number:
        return True
    if kind.get_class() == h5py.h5t.COMPOUND and depth < 4:
        return all(_plain(kind.get_member_type(at), depth + 1) for at in range(kind.get_nmembers()))
    if kind.get_class() == h5py.h5t.ARRAY and depth < 4:
        return _plain(kind.get_super(), depth + 1)
    return False


def member(group: Any, path: str, *, depth: int = 0) -> Any:
    """Return the group or dataset at a path below `group`, or None; links out of the file lead nowhere."""
    import h5py

    item = group.file["/"] if path.startswith("/") else group
    for name in (part for part in path.split("/") if part not in ("", ".")):
        if not isinstance(item, h5py.Group):
            return None
        try:
            link = item.get(name, getlink=True)
            if isinstance(link, h5py.HardLink):
                item = item[name]
            elif isinstance(link, h5py.SoftLink) and depth < _LINK_LIMIT:
                item = member(item, link.path, depth=depth + 1)
            else:
                return None
        except (KeyError, OSError, RuntimeError, ValueError):
            return None
    return item


def members(group: Any) -> dict[str, Any]:
    """Return what a group holds, by name, in the file's order; see `member`."""
    try:
        names = list(group)[:OBJECT_LIMIT]
    except (OSError, RuntimeError):
        return {}
    found = {name: member(group, name) for name in names if "/" not in name}
    return {name: item for name, item in found.items() if item is not None}


def walk(start: Any) -> Iterator[Any]:
    """Yield every group and dataset below (and with) `start` once, depth first, in the file's order."""
    import h5py

    seen: set[Any] = set()
    pending = [(start, 0)]
    while pending and len(seen) < OBJECT_LIMIT:
        item, depth = pending.pop()
        if item.id in seen or depth > DEPTH_LIMIT:
            continue
        seen.add(item.id)
        yield item
        if isinstance(item, h5py.Group):
            pending.extend((child, depth + 1) for child in reversed(list(_hard(item))))


def _hard(group: h5py.Group) -> Iterator[Any]:
    import h5py

    try:
        names = list(group)[:OBJECT_LIMIT]
    except (OSError, RuntimeError):
        return
    for name in names:
        try:
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                yield group[name]
        except (KeyError, OSError, RuntimeError, ValueError):
            continue


def foreign(item: Any) -> str | None:
    """Say what of a group or dataset lies in other files: external links, external storage, virtual data."""
    import h5py

    if isinstance(item, h5py.Dataset):
        elsewhere = _kept_elsewhere(item)
        return f"keeps its pixels in other files ({elsewhere})" if elsewhere else None
    if not isinstance(item, h5py.Group):
        return None
    kinds = (item.get(name, getlink=True) for name in list(item)[:OBJECT_LIMIT])
    return "links to other files" if any(isinstance(kind, h5py.ExternalLink) for kind in kinds) else None


def tree(item: Any, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return attributes and small datasets below a group as nested dictionaries, for `Scan.original`.

    Attributes of the group stand under their names, those of a dataset under ``name@attribute``; of larger
    datasets there is a note, and of a group that several names lead to, too. Members named in `skip` are left
    out.
    """
    return _tree(item, skip, _Kept(), depth=0)


@dataclass(slots=True)
class _Kept:
    """What `tree` has of a file: groups it was in, and bytes."""

    groups: set[Any] = field(default_factory=set)
    size: int = 0


def _tree(item: Any, skip: tuple[str, ...], kept: _Kept, *, depth: int) -> dict[str, Any]:
    import h5py

    kept.groups.add(item.id)
    found = dict(attributes(item))
    kept.size += sum(map(_size, found.values()))
    for name, child in members(item).items():
        if kept.size > _TREE_LIMIT or depth > DEPTH_LIMIT:
            return found | {"...": "<the file holds more>"}
        if name in skip:
            continue
        if isinstance(child, h5py.Group):
            known = child.id in kept.groups
            found[name] = (
                f"<the group {child.name} again>" if known else _tree(child, skip, kept, depth=depth + 1)
            )
        elif isinstance(child, h5py.Dataset):
            told = {name: _noted(child), **{f"{name}@{key}": said for key, said in attributes(child).items()}}
            kept.size += sum(map(_size, told.values()))
            found |= told
    return found


def _noted(dataset: h5py.Dataset) -> Any:
    try:
        known = value(dataset) if (dataset.size or 0) <= 4096 else None
        return f"<{dataset.dtype} {dataset.shape}>" if known is None else known
    except Exception as error:  # damage of any kind
        return f"<unreadable: {type(error).__name__}>"


def refusal(dataset: h5py.Dataset) -> str | None:
    """Return why the pixels of a dataset must not be read, or None.

    Pixels in other files, pixels that were never written, filters that are not installed, and claims that the
    stored bytes cannot fill.
    """
    elsewhere = _kept_elsewhere(dataset)
    if elsewhere:
        return f"keeps its pixels in other files ({elsewhere}), which are not followed"
    missing = _missing_filter(dataset)
    if missing:
        return f"is compressed with the HDF5 filter {missing}, which is not installed"
    claimed, stored = dataset.nbytes, dataset.id.get_storage_size()
    if not claimed:
        return "is empty"
    if not stored:
        return f"was never written: it claims {claimed} bytes and stores none"
    if claimed > _BOMB_FLOOR and claimed > _BOMB * stored:
        return f"claims {claimed} bytes out of {stored} stored ones; nothing is packed that well"
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if chunk > _CHUNK_LIMIT:
        return f"is cut into chunks of {chunk} bytes"
    shape = dataset.shape  # frames stand first or last
    frame = max(math.prod(shape[:2]), math.prod(shape[-2:])) * dataset.dtype.itemsize
    if is_bomb(min(max(frame, chunk), claimed), stored):
        return f"claims images of {frame} bytes in chunks of {chunk}, all packed into {stored} bytes"
    return None


def _kept_elsewhere(dataset: h5py.Dataset) -> str | None:
    if dataset.is_virtual:
        return "a virtual dataset"
    return "external storage" if dataset.id.get_create_plist().get_external_count() else None


def _missing_filter(dataset: h5py.Dataset) -> str | None:
    import h5py

    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            return f"{code} {name.decode('ascii', 'replace')}".strip()
    return None
