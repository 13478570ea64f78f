"""The names inside a micrograph file: the format, in code. docs/format.md is the same in prose.

The file is NeXus (``NXdata`` found by ``@default`` -> ``@signal`` -> ``@axes``), its axes are HDF5
dimension scales, and the image group is at the same time an NCEM EMD 0.2 data group through hard
links, so that h5py, NeXpy, silx, h5web, HyperSpy, ncempy and xarray open it without micdb.

References
----------
NeXus manual, https://manual.nexusformat.org/classes/base_classes/NXdata.html;
NCEM EMD 0.2, https://emdatasets.com/format/.
"""

from __future__ import annotations

# Raised when a reader of the old layout could no longer read the new one.
FORMAT_VERSION = 1
CREATOR = "micdb"
EMD_VERSION = (0, 2)  # major, minor; as int64 attributes of the root
EMD_GROUP_TYPE = 1  # EMD 0.2: a group that holds `data` and `dim1`, `dim2`, ...

ENTRY = "entry"
IMAGE = "entry/image"
INSTRUMENT = "entry/instrument"
SOURCE = "entry/source"
ORIGINAL = "entry/original_metadata"
THUMBNAIL = "entry/thumbnail"

SIGNAL = "data"
IMAGINARY = "imaginary"  # complex pixels: `data` is the real part

# @interpretation of the image group, by number of colour samples (0: a grey image)
INTERPRETATION = {0: "image", 3: "rgb-image", 4: "rgba-image"}

# Our setting -> the field NeXus has for it in NXinstrument; all others keep their own name.
FIELDS = {"instrument": "name"}

# Kinds and widths [byte] of numbers HDF5 keeps portably. No long double: its layout is the machine's.
STORABLE = {"b": (1,), "u": (1, 2, 4, 8), "i": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}

# docs/decisions/0003-compression.md: every HDF5 library reads deflate without a plug-in.
LEVEL = 1  # of deflate
FILTERS = {"compression": "gzip", "compression_opts": LEVEL, "shuffle": True}
CHUNK = 1 << 20  # [byte] larger frames are cut into bands of whole rows of at most this size
THUMBNAIL_SIDE = 128  # [pixel]


def chunk_shape(shape: tuple[int, ...], itemsize: int, *, colour: bool) -> tuple[int, ...]:
    """Return the HDF5 chunk: one frame, or a band of whole rows where a frame is larger than `CHUNK`.

    Parameters
    ----------
    shape
        ``(..., y, x)``, or ``(..., y, x, 3 or 4)`` for colour.
    itemsize
        Width of one number [byte].
    colour
        Whether the last axis holds colour samples.
    """
    leading = len(shape) - (3 if colour else 2)
    row = itemsize
    for size in shape[leading + 1 :]:
        row *= size
    rows = max(1, min(shape[leading], CHUNK // row))
    return (1,) * leading + (rows, *shape[leading + 1 :])
