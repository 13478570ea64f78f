"""What runs derive: every row names its run, and a run names model, code version and parameters."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Float, Index, Integer, String, Table, UniqueConstraint

from micdb.catalog.columns import Json, Key, Moment, Text, changed, column, key, metadata, number, refers, uid

model = Table(
    "model", metadata, key(), uid(),
    column("name", Text, "registered extractor name", nullable=False),
    column("version", Text, "version of the method", nullable=False),
    column("model_hash", String(64), "hash of name, version and weights", nullable=False, unique=True),
    column("card", Json, "the model card: licence, paper, input scale, validated numbers", nullable=False),
    comment="An extractor as it was when it ran.",
)  # fmt: skip

run = Table(
    "run", metadata, key(), uid(),
    refers("model", "what ran", nullable=False),
    column("run_key", String(64), "hash of model and canonical parameters", nullable=False, unique=True),
    column("parameters", Json, "canonical parameters", nullable=False),
    column("software", Json, "versions of the packages that matter", nullable=False),
    column("device", Text, "cpu or the accelerator's name", nullable=False),
    column("created_at", Moment, "when it was first asked for", nullable=False),
    column("actor", Text, "who asked", nullable=False),
    comment="A model with its parameters; populating new images later continues the same run.",
)  # fmt: skip

current_run = Table(
    "current_run", metadata,
    column("analysis", Text, "extractor name", primary_key=True),
    refers("run", "the run that im.atoms, im.defects and so on mean", nullable=False),
    comment="Which run is current; frame.using() pins another.",
)  # fmt: skip

run_item = Table(
    "run_item", metadata,
    refers("run", "run", primary_key=True),
    refers("micrograph", "image", primary_key=True),
    column("status", String(8), "pending, claimed, done, refused or failed", nullable=False),
    column("worker", Text, "process that holds the claim"),
    column("lease_until", Moment, "a claim older than this is free again"),
    column("attempt", Integer, "times claimed", nullable=False, default=0),
    column("reason", Text, "why refused or failed"),
    number("seconds", "s", "time of computing"),
    column("finished_at", Moment, "when"),
    Index("ix_run_item_status", "run_pk", "status"),  # claim the next pending items of a run
    CheckConstraint("status IN ('pending', 'claimed', 'done', 'refused', 'failed')", name="status"),
    comment="The job table: one image of one run.",
)  # fmt: skip

part = Table(
    "part", metadata, key(), uid(),
    refers("run", "run whose rows it holds", nullable=False),
    refers("object", "Parquet file", nullable=False),
    column("table_name", Text, "atoms, bonds, embeddings, ...", nullable=False, index=True),
    column("rows", BigInteger, "number of rows", nullable=False),
    column("min_image", Key, "smallest micrograph.pk in it", nullable=False),
    column("max_image", Key, "largest micrograph.pk in it", nullable=False),
    comment="Manifest of the Parquet parts.",
)  # fmt: skip

embedding_space = Table(
    "embedding_space", metadata, key(),
    refers("run", "run that fills it", nullable=False),
    column("name", Text, "texture@256nm; only vectors of one space are compared", nullable=False),
    column("dim", Integer, "length of its vectors", nullable=False),
    column("metric", Text, "cosine or euclidean", nullable=False),
    number("nm_per_pixel", "nm", "scale images are resampled to; NULL for an unscaled space"),
    UniqueConstraint("run_pk", "name"),
    comment="A space of vectors.",
)  # fmt: skip

rollup = Table(
    "rollup", metadata,
    refers("run", "run", primary_key=True),
    refers("micrograph", "image", primary_key=True),
    column("name", Text, "n_atoms, mean_coordination, ...", primary_key=True),
    column("value", Float(53), "number in `unit`"),
    column("unit", Text, "unit of the value; NULL for plain numbers"),
    Index("ix_rollup_name", "run_pk", "name", "value"),  # im.order > 0.9, and the largest ones
    comment="Per-image numbers, written in the transaction that makes the part they come from live.",
)  # fmt: skip

defect_motif = Table(
    "defect_motif", metadata, key(), uid(),
    column("name", Text, "name in the library", nullable=False, unique=True),
    column("definition", Json, "species and geometry", nullable=False),
    column("status", Text, "proposed, accepted or retired", nullable=False),
    refers("person", "curator"),
    changed(),
    comment="An entry of the defect library.",
)  # fmt: skip

defect = Table(
    "defect", metadata, key(), uid(),
    refers("run", "run that found it", nullable=False),
    refers("micrograph", "image it is in", nullable=False),
    refers("defect_motif", "library entry it belongs to"),
    column("frame", Integer, "frame of a stack, from 0", nullable=False, default=0),
    column("kind", Text, "vacancy, substitution, loop, ...", nullable=False, index=True),
    number("x_px", "pixel", "centre, from the centre of the top-left pixel"),
    number("y_px", "pixel", "centre, from the centre of the top-left pixel"),
    number("x_nm", "nm", "centre, from the centre of the top-left pixel"),
    number("y_nm", "nm", "centre, from the centre of the top-left pixel"),
    column("box", Json, "x, y, width, height", unit="pixel"),
    number("score", None, "probability"),
    column("atoms", Json, "indices of the atoms it is made of"),
    column("formula", Text, "what it is made of: Si1C3, V2, rings 5577", index=True),
    column("key", Text, "of its bond graph with species: equal for equal structures", index=True),
    column("descriptor", Json, "how it looks, as numbers; only those of one run are compared"),
    column("structure", Json, "atoms around it: x_nm and y_nm from its centre, species", unit="nm"),
    column(
        "state", Text, "detected, accepted, added, rejected, replaced or undone", nullable=False,
        default="detected",
    ),
    refers("defect", "the row that this one corrects", name="replaces_pk"),
    comment="One defect in one image. Corrections add rows and change the state of others; see annotation.",
)  # fmt: skip

STANDING = ("detected", "accepted", "added")  # states of the defects that queries see

annotation = Table(
    "annotation", metadata, key(), uid(),
    column("target_table", Text, "table of the row it speaks of", nullable=False),
    column("target_uid", String(36), "row it speaks of", nullable=False, index=True),
    column("verb", String(8), "accept, reject, relabel, move, add, draw or undo", nullable=False),
    column("value", Json, "the new label, position, row or mask"),
    refers("person", "who says so"),
    column("created_at", Moment, "when", nullable=False),
    column("supersedes_uid", String(36), "earlier annotation it replaces"),
    comment="What a person corrects or draws; append-only, it supersedes and never overwrites.",
)  # fmt: skip

dataset = Table(
    "dataset", metadata, key(), uid(),
    column("name", Text, "name it is asked for by", nullable=False, unique=True),
    column("query", Json, "query tree; NULL when members are listed"),
    column("event_seq", Key, "event it is frozen at; NULL while it follows the data"),
    column("created_at", Moment, "when", nullable=False),
    comment="A named query or list of images; a snapshot when frozen.",
)  # fmt: skip

dataset_member = Table(
    "dataset_member", metadata,
    refers("dataset", "dataset", primary_key=True),
    refers("micrograph", "member", primary_key=True),
    comment="Explicit members of a dataset.",
)  # fmt: skip
