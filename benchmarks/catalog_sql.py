"""The questions of `catalog.py`: each in micdb's language, and as the best SQL we could write by hand.

The SQL knows what micdb must find out (which run is current, that ``uid`` is never NULL), leaves out every
join it can, and takes sort keys before it fetches wide rows. It uses the indexes that are there; CROSS JOIN
holds SQLite to the order of tables that is best, whatever its statistics say, and leaves PostgreSQL free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from micdb.database import Database

Ask = Callable[[Database], Any]


class Question(NamedTuple):
    """A question: its name, the answer as a frame (or a number), and the SQL for each engine."""

    name: str
    ask: Ask
    sqlite: str
    postgres: str


WIDE = """
  m.uid, m.name, s.file_name AS file, s.format, lab.name AS lab, sample.name AS sample,
  material.name AS material, instrument.name AS instrument, nullif(instrument.vendor, '') AS vendor,
  person.name AS operator, m.modality, m.channel, m.acquired, m.acquired_zone, m.height, m.width, m.n_frames,
  m.dtype, m.colour, m.pixel_size, m.pixel_size_x, m.pixel_size_y, m.pixel_size_origin,
  m.reciprocal_pixel_size_x, m.reciprocal_pixel_size_y, m.area, m.accelerating_voltage, m.magnification,
  m.working_distance, m.dwell_time, m.bias, m.setpoint_current, m.detector, m.intensity_unit, m.intensity_min,
  m.intensity_max, m.intensity_mean, m.intensity_sd, coalesce(m.licence, lab.licence) AS licence,
  m.embargo_until, m.source, m.pixel_hash, m.created_at, m.object_pk IS NULL AS deferred
"""
JOINS = """
  LEFT JOIN lab ON lab.pk = m.lab_pk
  LEFT JOIN sample ON sample.pk = m.sample_pk
  LEFT JOIN material ON material.pk = sample.material_pk
  LEFT JOIN instrument ON instrument.pk = m.instrument_pk
  LEFT JOIN person ON person.pk = m.person_pk
  LEFT JOIN source s ON s.pk = (SELECT min(pk) FROM source WHERE micrograph_pk = m.pk)
"""


def design(db: Database) -> Any:
    """The query of the design: densities of vacancies beside hardness."""
    im = db.images
    vac = im.defects[im.defects.kind == "vacancy"]
    q = im[(im.material == "WS2") & (im.pixel_size < "1 nm") & (vac.count() >= 3)]
    q = q.assign(n_vac=vac.count(), density=vac.count() / im.area)
    q = q.with_property("hardness", level="sample", agg="mean")
    return q.sort_values("density", ascending=False).head(50)


def _design(spread: str) -> str:
    """Count once for each image that qualifies, keep the best 50, and only then fetch wide rows."""
    return f"""
WITH best AS (
  SELECT m.pk, m.uid, m.sample_pk, count(*) AS n, count(*) / m.area AS density
  FROM material CROSS JOIN sample CROSS JOIN micrograph m CROSS JOIN defect d
  WHERE sample.material_pk = material.pk AND m.sample_pk = sample.pk AND d.micrograph_pk = m.pk
    AND material.name = 'WS2' AND m.pixel_size < 1 AND m.deleted_at IS NULL
    AND d.run_pk = 2 AND d.kind = 'vacancy' AND d.state <> 'rejected'
  GROUP BY m.pk HAVING count(*) >= 3
  ORDER BY density DESC NULLS LAST, m.uid LIMIT 50),
hard AS (
  SELECT sample_pk, avg(value) AS mean,
    coalesce({spread}(value), CASE WHEN count(value) = 1 THEN max(sd) END) AS sd, count(value) AS n
  FROM property_value
  WHERE sample_pk IN (SELECT sample_pk FROM best) AND property_def_pk = 1 AND level = 'sample'
    AND retired_at IS NULL GROUP BY sample_pk)
SELECT {WIDE}, best.n, best.density, hard.mean, hard.sd, coalesce(hard.n, 0)
FROM best JOIN micrograph m ON m.pk = best.pk {JOINS}
LEFT JOIN hard ON hard.sample_pk = best.sample_pk
ORDER BY best.density DESC NULLS LAST, m.uid"""  # noqa: S608


def everywhere(name: str, ask: Ask, sql: str) -> Question:
    """Return a question whose SQL is the same on both engines."""
    return Question(name, ask, sql, sql)


COUNT = "SELECT count(*) FROM micrograph WHERE deleted_at IS NULL"


def _labs(db: Database) -> Any:
    return db.images.groupby("lab").agg(
        n=("uid", "count"), finest=("pixel_size", "min"), voltage=("accelerating_voltage", "mean")
    )


LABS = """
WITH g AS (SELECT lab_pk, count(*) AS n, min(pixel_size) AS finest, avg(accelerating_voltage) AS voltage
  FROM micrograph WHERE deleted_at IS NULL AND lab_pk IS NOT NULL GROUP BY lab_pk)
SELECT lab.name, g.n, g.finest, g.voltage FROM g JOIN lab ON lab.pk = g.lab_pk ORDER BY 1"""


def _materials(db: Database) -> Any:
    return db.images.groupby("material").agg(n=("uid", "count"))


MATERIALS = """
WITH g AS (SELECT sample_pk, count(*) AS n FROM micrograph WHERE deleted_at IS NULL GROUP BY sample_pk)
SELECT material.name, sum(g.n) FROM g JOIN sample ON sample.pk = g.sample_pk
JOIN material ON material.pk = sample.material_pk GROUP BY material.pk, material.name ORDER BY 1"""

HEAD = f"""
SELECT {WIDE} FROM (SELECT * FROM micrograph WHERE deleted_at IS NULL ORDER BY uid LIMIT 50) m {JOINS}
ORDER BY m.uid"""  # noqa: S608


def _hard(db: Database) -> Any:
    im = db.images
    q = im[im.hardness > "9 GPa"].sort_values("hardness", ascending=False)
    return q[["uid", "sample", "hardness"]]


# No image has a value of its own here, but the question must look: such a value goes before the sample's.
HARD = """
WITH hard AS (SELECT sample_pk, avg(value) AS mean FROM property_value
  WHERE property_def_pk = 1 AND level = 'sample' AND retired_at IS NULL
  GROUP BY sample_pk HAVING avg(value) > 9),
own AS (SELECT micrograph_pk, avg(value) AS mean FROM property_value
  WHERE property_def_pk = 1 AND level = 'image' AND retired_at IS NULL AND micrograph_pk IS NOT NULL
  GROUP BY micrograph_pk HAVING count(value) > 0)
SELECT m.uid, sample.name, hard.mean AS hardness
FROM hard JOIN sample ON sample.pk = hard.sample_pk JOIN micrograph m ON m.sample_pk = hard.sample_pk
WHERE m.deleted_at IS NULL AND m.pk NOT IN (SELECT micrograph_pk FROM own)
UNION ALL
SELECT m.uid, sample.name, own.mean FROM own JOIN micrograph m ON m.pk = own.micrograph_pk
LEFT JOIN sample ON sample.pk = m.sample_pk WHERE m.deleted_at IS NULL AND own.mean > 9
ORDER BY hardness DESC, 1"""


def _nickel(db: Database) -> Any:
    return db.images[db.images.contains("Ni")]


def _holding(symbol: str) -> str:
    """Return the start of a statement: samples with an element, and percents of images themselves."""
    return f"""
WITH percents AS (SELECT pk FROM property_def WHERE name IN ('at_{symbol}', 'wt_{symbol}')),
holding AS (SELECT sample_pk FROM property_value
  WHERE property_def_pk IN (SELECT pk FROM percents) AND level = 'sample' AND retired_at IS NULL
  GROUP BY sample_pk, property_def_pk HAVING avg(value) > 0),
own AS (SELECT micrograph_pk, avg(value) AS mean FROM property_value
  WHERE property_def_pk IN (SELECT pk FROM percents) AND level = 'image' AND retired_at IS NULL
    AND micrograph_pk IS NOT NULL
  GROUP BY micrograph_pk, property_def_pk HAVING count(value) > 0)"""  # noqa: S608


def _counted(symbol: str) -> str:
    return f"""{_holding(symbol)}
SELECT (SELECT count(*) FROM sample JOIN micrograph m ON m.sample_pk = sample.pk
    WHERE sample.pk IN (SELECT sample_pk FROM holding) AND m.pk NOT IN (SELECT micrograph_pk FROM own)
      AND m.pk NOT IN (SELECT pk FROM micrograph WHERE deleted_at IS NOT NULL))
  + (SELECT count(*) FROM micrograph WHERE pk IN (SELECT micrograph_pk FROM own WHERE mean > 0)
    AND deleted_at IS NULL)"""  # noqa: S608


# In the order of uid nickel is soon found: each image asks whether its sample is one. The signs keep SQLite
# from the other indexes.
NICKEL = f"""{_holding("Ni")}
SELECT {WIDE} FROM (SELECT * FROM micrograph WHERE deleted_at IS NULL
    AND (+sample_pk IN (SELECT sample_pk FROM holding) AND +pk NOT IN (SELECT micrograph_pk FROM own)
      OR +pk IN (SELECT micrograph_pk FROM own WHERE mean > 0))
  ORDER BY uid LIMIT 50) m {JOINS}
ORDER BY m.uid"""  # noqa: S608


def _ordered(db: Database) -> Any:
    im = db.images
    return im[im.order > 0.9].sort_values("order", ascending=False).head(100)[["uid", "name", "order"]]


ORDERED = """
SELECT m.uid, m.name, r.value FROM rollup r JOIN micrograph m ON m.pk = r.micrograph_pk
WHERE r.run_pk = 3 AND r.name = 'order' AND r.value > 0.9 AND m.deleted_at IS NULL
ORDER BY r.value DESC, m.uid LIMIT 100"""


def _kinds(db: Database) -> Any:
    im = db.images
    rows = im[im.material == "MoS2"].explode("defects")
    return rows.groupby("kind").agg(n=("score", "count"), score=("score", "mean"))


KINDS = """
SELECT d.kind, count(d.score), avg(d.score)
FROM material CROSS JOIN sample CROSS JOIN micrograph m CROSS JOIN defect d
WHERE sample.material_pk = material.pk AND m.sample_pk = sample.pk AND d.micrograph_pk = m.pk
  AND material.name = 'MoS2' AND m.deleted_at IS NULL AND d.run_pk = 2 AND d.state <> 'rejected'
GROUP BY d.kind ORDER BY 1"""


def _defects(db: Database) -> Any:
    return db.defects.groupby("kind").agg(n=("score", "count"), score=("score", "mean"))


DEFECTS = """
SELECT d.kind, count(d.score), avg(d.score) FROM defect d
WHERE d.run_pk = 2 AND d.state <> 'rejected'
  AND d.micrograph_pk NOT IN (SELECT pk FROM micrograph WHERE deleted_at IS NOT NULL)
GROUP BY d.kind ORDER BY 1"""


def _rich(db: Database) -> Any:
    im = db.images
    q = im.assign(n=im.defects.count())
    return q[q.n >= 40].sort_values("n", ascending=False).head(100)[["uid", "name", "n"]]


RICH = """
WITH g AS (SELECT micrograph_pk, count(*) AS n FROM defect WHERE run_pk = 2 AND state <> 'rejected'
  GROUP BY micrograph_pk HAVING count(*) >= 40)
SELECT m.uid, m.name, g.n FROM g JOIN micrograph m ON m.pk = g.micrograph_pk WHERE m.deleted_at IS NULL
ORDER BY g.n DESC, m.uid LIMIT 100"""


def _samples(db: Database) -> Any:
    s = db.samples
    return s[s.n_images > 40].sort_values("n_images", ascending=False).head(20)


SAMPLES = """
WITH g AS (SELECT sample_pk, count(*) AS n FROM micrograph WHERE deleted_at IS NULL AND sample_pk IS NOT NULL
  GROUP BY sample_pk HAVING count(*) > 40)
SELECT s.uid, s.name, lab.name, material.name, material.formula, s.form, s.source, g.n
FROM g JOIN sample s ON s.pk = g.sample_pk LEFT JOIN lab ON lab.pk = s.lab_pk
LEFT JOIN material ON material.pk = s.material_pk ORDER BY g.n DESC, s.uid LIMIT 20"""


def _page(db: Database) -> Any:
    return db.images.sort_values("created_at", ascending=False)[50:100]


PAGE = f"""
SELECT {WIDE} FROM (SELECT pk FROM micrograph WHERE deleted_at IS NULL
  ORDER BY created_at DESC, uid LIMIT 50 OFFSET 50) p JOIN micrograph m ON m.pk = p.pk {JOINS}
ORDER BY m.created_at DESC, m.uid"""  # noqa: S608


def _named(db: Database) -> Any:
    return db.images[db.images.name.str.contains("HAADF 00017")][["uid", "name", "sample"]]


NAMED = """
SELECT m.uid, m.name, sample.name FROM micrograph m LEFT JOIN sample ON sample.pk = m.sample_pk
WHERE m.pk IN (SELECT pk FROM micrograph WHERE {position}(name, 'HAADF 00017') > 0) AND m.deleted_at IS NULL
ORDER BY m.uid"""


def _afm(db: Database) -> Any:
    im = db.images
    return im[im.modality == "AFM"][["uid", "sample", "lab", "pixel_size", "acquired"]]


AFM = """
SELECT m.uid, sample.name, lab.name, m.pixel_size, m.acquired
FROM micrograph m LEFT JOIN sample ON sample.pk = m.sample_pk LEFT JOIN lab ON lab.pk = m.lab_pk
WHERE m.modality = 'AFM' AND m.deleted_at IS NULL ORDER BY m.uid"""


def _one_sample(db: Database) -> Any:
    return db.images[db.images["sample"] == "S000123"]


ONE_SAMPLE = f"""
SELECT {WIDE} FROM micrograph m {JOINS}
WHERE m.sample_pk IN (SELECT pk FROM sample WHERE name = 'S000123') AND m.deleted_at IS NULL
ORDER BY m.uid"""  # noqa: S608


def _project(db: Database) -> Any:
    im = db.images
    q = im[im.material == "MoSe2 round robin"]
    q = q.assign(n=im.defects.count())
    return q.groupby("lab").agg(images=("uid", "count"), mean=("n", "mean"))


PROJECT = """
SELECT lab.name, count(*), avg(x.n) FROM (
  SELECT m.lab_pk, CAST(coalesce(
    nullif((SELECT count(*) FROM defect d WHERE d.micrograph_pk = m.pk AND d.run_pk = 2
      AND d.state <> 'rejected'), 0),
    (SELECT 0 FROM run_item i WHERE i.run_pk = 2 AND i.micrograph_pk = m.pk AND i.status = 'done'))
    AS DOUBLE PRECISION) AS n
  FROM material JOIN sample ON sample.material_pk = material.pk JOIN micrograph m ON m.sample_pk = sample.pk
  WHERE material.name = 'MoSe2 round robin' AND m.deleted_at IS NULL) x
JOIN lab ON lab.pk = x.lab_pk GROUP BY lab.pk, lab.name ORDER BY 1"""


def _uid(db: Database) -> Any:
    return db.images[db.images["uid"] == KNOWN_UID[0]]


KNOWN_UID = [""]  # of one image, looked up before the clock starts
UID = f"SELECT {WIDE} FROM micrograph m {JOINS} WHERE m.uid = '{{uid}}' AND m.deleted_at IS NULL"  # noqa: S608

QUESTIONS = (
    Question("DESIGN query without similarity", design, _design("micdb_std"), _design("stddev_samp")),
    everywhere("count of images", lambda db: db.images, COUNT),
    everywhere("first 50 images", lambda db: db.images.head(50), HEAD),
    everywhere("second page, newest first", _page, PAGE),
    everywhere("one image by uid", _uid, UID),
    everywhere("images of one sample", _one_sample, ONE_SAMPLE),
    everywhere("a material of 500 images: defects by lab", _project, PROJECT),
    everywhere("images by lab", _labs, LABS),
    everywhere("images by material", _materials, MATERIALS),
    everywhere("hardness above a limit", _hard, HARD),
    everywhere("count of images that contain nickel", _nickel, _counted("Ni")),
    everywhere("first 50 images that contain nickel", lambda db: _nickel(db).head(50), NICKEL),
    everywhere(
        "count of images that contain rhenium", lambda db: db.images[db.images.contains("Re")], _counted("Re")
    ),
    everywhere("roll-up above a limit, best 100", _ordered, ORDERED),
    everywhere("defects of a material by kind", _kinds, KINDS),
    everywhere("all defects by kind", _defects, DEFECTS),
    everywhere("images with 40 defects or more, best 100", _rich, RICH),
    everywhere("samples with 40 images or more, best 20", _samples, SAMPLES),
    Question("name contains", _named, NAMED.format(position="instr"), NAMED.format(position="strpos")),
    everywhere("100,000 rows of 5 columns", _afm, AFM),
)
