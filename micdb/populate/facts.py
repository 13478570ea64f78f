"""What extractors fill: Arrow schemas of the big tables in Parquet parts, and of the small ones in SQL.

Extractors may add columns after these. The populate service puts a ``run`` column (int64) in front
of every row. Positions count from the centre of the top-left pixel; unknown scale leaves ``_nm`` null.
"""

from __future__ import annotations

import pyarrow as pa

ATOMS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("idx", pa.int32(), nullable=False),  # number of the atom within its frame, from 0
        pa.field("x_px", pa.float32(), nullable=False),
        pa.field("y_px", pa.float32(), nullable=False),
        pa.field("x_nm", pa.float32()),
        pa.field("y_nm", pa.float32()),
        pa.field("intensity", pa.float32()),  # peak height above background, in the image's unit
    ]
)

BONDS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("i", pa.int32(), nullable=False),  # atoms.idx, i < j
        pa.field("j", pa.int32(), nullable=False),
        pa.field("length_px", pa.float32(), nullable=False),
        pa.field("length_nm", pa.float32()),
    ]
)

EMBEDDINGS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("space", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)

PATCHES = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("space", pa.string(), nullable=False),
        pa.field("x_px", pa.int32(), nullable=False),  # top-left corner of the patch, whole pixels
        pa.field("y_px", pa.int32(), nullable=False),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)

TRACKS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),  # number of the track within its image, from 0
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("idx", pa.int32()),  # atoms.idx or number of the defect in that frame
        pa.field("x_px", pa.float32(), nullable=False),
        pa.field("y_px", pa.float32(), nullable=False),
        pa.field("x_nm", pa.float32()),
        pa.field("y_nm", pa.float32()),
        pa.field("state", pa.string()),  # what it is at that moment: vacancy, 3-fold, ...
    ]
)

LATENTS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # z0, order parameter, strain_xx, ...
        pa.field("value", pa.float64(), nullable=False),
        pa.field("sd", pa.float64()),
    ]
)

LATTICES = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("region", pa.int32(), nullable=False),  # number within its frame, by falling area, from 0
        pa.field("x_px", pa.int32(), nullable=False),  # top-left corner of the box around it, whole pixels
        pa.field("y_px", pa.int32(), nullable=False),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("share", pa.float32(), nullable=False),  # of the scanned pixels, that are in the region
        pa.field("a_px", pa.float64(), nullable=False),  # lengths of the two shortest lattice vectors
        pa.field("b_px", pa.float64(), nullable=False),
        pa.field("a_nm", pa.float64()),
        pa.field("b_nm", pa.float64()),
        pa.field("gamma_deg", pa.float64(), nullable=False),  # between them, 90 to 120
        pa.field("angle_deg", pa.float64(), nullable=False),  # direction of a from x towards y, 0 to 180
        pa.field("a_sd_px", pa.float64(), nullable=False),  # standard deviations
        pa.field("b_sd_px", pa.float64(), nullable=False),
        pa.field("a_sd_nm", pa.float64()),
        pa.field("b_sd_nm", pa.float64()),
        pa.field("gamma_sd_deg", pa.float64(), nullable=False),
        pa.field("angle_sd_deg", pa.float64(), nullable=False),
        pa.field("bravais", pa.string(), nullable=False),  # oblique, rectangular, ..., the likeliest type
        pa.field("probability", pa.float64(), nullable=False),  # of that type
    ]
)

HEIGHTS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("idx", pa.int32(), nullable=False),  # number of the column within its frame, from 0
        pa.field("x_px", pa.float32(), nullable=False),
        pa.field("y_px", pa.float32(), nullable=False),
        pa.field("x_nm", pa.float32()),
        pa.field("y_nm", pa.float32()),
        pa.field("scattering", pa.float64()),  # integrated over pixels, in the image's unit; of dark fields
        pa.field("scattering_sd", pa.float64()),  # of counting
        pa.field("atoms", pa.int32(), nullable=False),  # most probable number along the beam
        pa.field("probability", pa.float32(), nullable=False),  # of that number
    ]
)

TILTS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("idx", pa.int32(), nullable=False),  # number of the region within its frame, from 0
        pa.field("x_px", pa.float32(), nullable=False),  # its centre
        pa.field("y_px", pa.float32(), nullable=False),
        pa.field("x_nm", pa.float32()),
        pa.field("y_nm", pa.float32()),
        pa.field("side_px", pa.float32(), nullable=False),  # root of its area
        pa.field("beam_deg", pa.float64(), nullable=False),  # rotation of octahedra about [110], the beam
        pa.field("cross_deg", pa.float64(), nullable=False),  # about [1-10], across the beam
        pa.field("c_deg", pa.float64(), nullable=False),  # about [001], across the beam
        pa.field("beam_sd_deg", pa.float64(), nullable=False),  # 1.645 of them are half a 90 % interval
        pa.field("cross_sd_deg", pa.float64(), nullable=False),
        pa.field("c_sd_deg", pa.float64(), nullable=False),
        pa.field("mistilt_cross_mrad", pa.float64(), nullable=False),  # of the beam, along [1-10]
        pa.field("mistilt_c_mrad", pa.float64(), nullable=False),  # and along [001]
        pa.field("mistilt_cross_sd_mrad", pa.float64(), nullable=False),
        pa.field("mistilt_c_sd_mrad", pa.float64(), nullable=False),
    ]
)

PHASES = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("fraction", pa.float64(), nullable=False),  # of the area that was looked at
        pa.field("fraction_sd", pa.float64()),
        pa.field("fraction_low", pa.float64()),  # ends of the 95 % confidence interval
        pa.field("fraction_high", pa.float64()),
        pa.field("area_nm2", pa.float64()),
        pa.field("boundary_nm", pa.float64()),  # length of the boundary with other phases
        pa.field("thickness_nm", pa.float64()),  # median along the middle line, of films and networks
        pa.field("probability", pa.float32()),  # that a pixel called so is so, mean over them
    ]
)

# Ordered pairs of phases: shared boundaries, and how far the one is from the boundary of the other.
INTERFACES = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("other", pa.string(), nullable=False),
        pa.field("length_nm", pa.float64()),
        pa.field("distance_px", pa.float64()),  # median way to the next pixel of the other: a denuded zone
        pa.field("distance_nm", pa.float64()),
    ]
)

REGIONS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("idx", pa.int32(), nullable=False),  # number of the region within its frame, from 0
        pa.field("phase", pa.string(), nullable=False),
        pa.field("x_px", pa.float32(), nullable=False),  # centroid
        pa.field("y_px", pa.float32(), nullable=False),
        pa.field("x_nm", pa.float32()),
        pa.field("y_nm", pa.float32()),
        pa.field("area_px", pa.int64(), nullable=False),
        pa.field("area_nm2", pa.float64()),
        pa.field("on_edge", pa.bool_(), nullable=False),  # cut off by the edge of the image
        pa.field("box", pa.list_(pa.int32()), nullable=False),  # x, y, width, height [pixel]
    ]
)

PARTICLES = pa.schema(
    [
        *REGIONS.remove(3),
        pa.field("diameter_px", pa.float64(), nullable=False),  # of the circle of equal area
        pa.field("diameter_nm", pa.float64()),
        pa.field("major_nm", pa.float64()),  # axes of the ellipse of equal second moments
        pa.field("minor_nm", pa.float64()),
        pa.field("angle_deg", pa.float64()),  # of the major axis, from x towards y, 0 to 180
        pa.field("circularity", pa.float64()),  # 4 pi area / perimeter**2: 1 for a disc
        pa.field("solidity", pa.float64()),  # share of its convex hull
        pa.field("weight", pa.float64()),  # particles of its size that it stands for: edges cut large ones
        pa.field("score", pa.float64()),  # probability
    ]
)

CLASSES = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # 1 is the likeliest
        pa.field("label", pa.string(), nullable=False),  # unknown, at rank 1, for what is far from all
        pa.field("probability", pa.float64()),  # that the image is of it, if it is of one of them
        pa.field("novelty", pa.float64(), nullable=False),  # share of the taught images that are less strange
    ]
)

# Which label each pixel has, in runs along the rows: np.repeat(labels, lengths).reshape(height_px, width_px).
MASKS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # phases, particles, ...
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("classes", pa.list_(pa.string()), nullable=False),  # names of the labels 0, 1, ...; or none
        pa.field("labels", pa.list_(pa.int32()), nullable=False),
        pa.field("lengths", pa.list_(pa.int32()), nullable=False),
    ]
)

# Images made of images: np.reshape(offset + scale * pixels, (height_px, width_px)); 65535: nothing scanned.
RESTORATIONS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("factor", pa.int32(), nullable=False),  # pixels of it in one of the image, each way
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("pixel_x_nm", pa.float64()),  # size of its pixels
        pa.field("pixel_y_nm", pa.float64()),
        pa.field("offset", pa.float64(), nullable=False),  # in the unit of the image
        pa.field("scale", pa.float64(), nullable=False),
        pa.field("pixels", pa.list_(pa.uint16()), nullable=False),
        pa.field("data_resolution_px", pa.float64()),  # period in pixels of the image; null: data say nothing
        pa.field("data_resolution_nm", pa.float64()),
        pa.field("resolution_px", pa.float64()),  # of the restored image, as far as the data can tell
        pa.field("resolution_nm", pa.float64()),
        pa.field("noise", pa.float64(), nullable=False),  # root mean square of what was taken away
        pa.field("residual_correlation", pa.float64(), nullable=False),  # of that with its neighbours
        pa.field("residual_correlation_sd", pa.float64(), nullable=False),  # what chance gives white noise
        pa.field("invented", pa.float64(), nullable=False),  # share of pixels with structure made of noise
        pa.field("invented_runs", pa.list_(pa.int32()), nullable=False),  # lengths along rows: not, so, ...
    ]
)

# Power over spatial frequencies, see micdb.embed.micro.spectrum; what an image cannot know has no row.
SPECTRA = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("band", pa.int32(), nullable=False),  # from 2 ** (band / 4) to 2 ** ((band + 1) / 4) 1/nm
        pa.field("wavelength_nm", pa.float64(), nullable=False),  # of its middle
        pa.field("power", pa.float64(), nullable=False),  # share of the variance, per octave
        pa.field("order2", pa.float64(), nullable=False),  # twofold: lamellae; 0 to 1
        pa.field("order4", pa.float64(), nullable=False),
        pa.field("order6", pa.float64(), nullable=False),
    ]
)

FACTS: dict[str, pa.Schema] = {
    "atoms": ATOMS,
    "bonds": BONDS,
    "embeddings": EMBEDDINGS,
    "patches": PATCHES,
    "tracks": TRACKS,
    "latents": LATENTS,
    "lattices": LATTICES,
    "heights": HEIGHTS,
    "tilts": TILTS,
    "phases": PHASES,
    "interfaces": INTERFACES,
    "regions": REGIONS,
    "particles": PARTICLES,
    "classes": CLASSES,
    "masks": MASKS,
    "spectra": SPECTRA,
    "restorations": RESTORATIONS,
}

SITE = pa.struct(
    [
        pa.field("x_nm", pa.float64(), nullable=False),  # from the centre of the defect
        pa.field("y_nm", pa.float64(), nullable=False),
        pa.field("species", pa.string()),
    ]
)

DEFECTS = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # vacancy, substitution, ...
        pa.field("x_px", pa.float64(), nullable=False),  # centre
        pa.field("y_px", pa.float64(), nullable=False),
        pa.field("x_nm", pa.float64()),
        pa.field("y_nm", pa.float64()),
        pa.field("box", pa.list_(pa.float64())),  # x, y, width, height [pixel]
        pa.field("score", pa.float64()),  # probability
        pa.field("atoms", pa.list_(pa.int32())),  # atoms.idx of what it is made of
        pa.field("formula", pa.string()),  # Si1C3: foreign atoms and hosts bonded to them; V2; rings 5577
        pa.field("key", pa.string()),  # of its bond graph, as from micdb.embed.motif_key
        pa.field("descriptor", pa.list_(pa.float32())),  # how it looks; compared within one run only
        pa.field("structure", pa.list_(SITE)),  # the atoms around it, its own among them
    ]
)

# Rows of these are few and each has a uid that people refer to: they live in the catalog.
CATALOGUED: dict[str, pa.Schema] = {"defects": DEFECTS}
