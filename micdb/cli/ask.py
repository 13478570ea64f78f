"""Commands that ask."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from micdb.cli import output
from micdb.cli.motif import print_places
from micdb.cli.options import (
    AsJson,
    Columns,
    Db,
    Format,
    Where,
    app,
    box_of,
    chosen,
    pairs,
    split,
)
from micdb.errors import UsageError


@app.command()
def query(
    text: Annotated[str, typer.Argument(help="""For example: material == "UHCS" and pixel_size < 0.5 um""")],
    db: Db = None,
    columns: Columns = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by; a leading - sorts downwards.")] = None,
    limit: Annotated[int | None, typer.Option(help="Largest number of rows.")] = None,
    form: Format = "table",
    as_json: AsJson = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print how it would run instead.")] = False,
    at: Annotated[str | None, typer.Option(help="Ask a snapshot instead; see micdb snapshot.")] = None,
) -> None:
    """Find images."""
    from micdb import opening

    with opening.open(chosen(db)) as now, now.at(at) if at else nullcontext(now) as base:
        frame = base.images.query(text)
        if sort:
            frame = frame.sort_values(sort.removeprefix("-"), ascending=not sort.startswith("-"))
        if limit is not None:
            frame = frame.head(limit)
        if columns:
            frame = frame[split(columns)]
        if explain:
            output.console().print(frame.explain(), markup=False, highlight=False)
            return
        output.print_frame(frame.to_pandas(), "json" if as_json else form, cut=not columns)


@app.command()
def export(
    text: Annotated[str, typer.Argument(help="Query; images are exported in its order.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write to; of a bundle also a .zip file.")],
    as_: Annotated[
        str, typer.Option("--as", help="ome-tiff, nexus, nxem, png, csv, coco; or bundle, for another micdb.")
    ] = "ome-tiff",
    db: Db = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names.")] = False,
    sample: Annotated[
        list[str] | None, typer.Option("--sample", help="nxem: what is not known, as name=value.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="png: 8- and 16-bit values as stored.")] = False,
    scale_bar: Annotated[bool, typer.Option("--scale-bar", help="png: draw a scale bar.")] = False,
    level: Annotated[
        str | None, typer.Option(help="bundle: metadata, thumbnails, derived or full, which is the default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the images of a query as files for other programs, or as a bundle for another database."""
    from micdb import opening

    given = pairs(sample or [], "--sample", example="atom_types='Fe, C'")
    with opening.open(chosen(db)) as base, output.progress("exporting") as advance:

        def watch(number: int, total: int, path: Path) -> None:
            if advance:
                advance(output.short(path), number, total)

        forms: dict[str, Any] = {"sample": given, "raw": raw, "scale_bar": scale_bar, "level": level}
        done = base.export(text, to, as_=as_, overwrite=overwrite, watch=watch, **forms)
    if as_json:
        output.print_json(done.as_json())
        return
    output.console().print(str(done), highlight=False, markup=False)


@app.command()
def restored(
    text: Annotated[str, typer.Argument(help="Query; restored images of its images are written.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write to.")],
    as_: Annotated[str, typer.Option("--as", help="tiff or png.")] = "tiff",
    using: Annotated[
        str | None, typer.Option(help="Where several extractors restored: denoise@1, super-resolve@1.")
    ] = None,
    db: Db = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write what denoise or super-resolve made of the images of a query, and masks of what they invented."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        paths = base.write_restored(text, to, as_=as_, using=using, overwrite=overwrite)
    if as_json:
        output.print_json([str(path) for path in paths])
        return
    output.console().print(f"{len(paths) // 2} restored images in {to}", highlight=False)


@app.command()
def similar(
    examples: Annotated[list[str], typer.Argument(help="Image files, or uids of images in the database.")],
    db: Db = None,
    k: Annotated[int, typer.Option("-k", help="Number of results.")] = 10,
    box: Annotated[
        list[str] | None,
        typer.Option(help="Region of the example: x,y,width,height [pixel]; of several one each, or -."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Extractor or space, for example texture@256nm.")] = None,
    pixel_size: Annotated[
        list[str] | None,
        typer.Option(help="Of an example without scale: '0.2 um'; of several one each, or -."),
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option("--not", help="An example of what is not wanted; may be repeated.")
    ] = None,
    places: Annotated[bool, typer.Option("--places", help="Find places in images, best first.")] = False,
    per_image: Annotated[int | None, typer.Option(help="Places of one image at most.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="same nm/pixel, free: patterns of any size, or physical: patterns of one size."),
    ] = None,
    where: Where = None,
    columns: Columns = None,
    form: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Find the images, or places in them, most like an example or several."""
    from micdb import opening

    if per_image is not None and not places:
        raise UsageError("--per-image counts places: add --places")
    boxes = tuple(None if one == "-" else box_of(one) for one in box or ())
    sizes = tuple(None if one == "-" else one for one in pixel_size or ())
    with opening.open(chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        options: dict[str, Any] = {"k": k, "by": by, "negative": negative or (), "scale": scale}
        options |= {"box": boxes or None, "pixel_size": sizes or None}
        options |= {"level": "patch", "per_image": per_image} if places else {}
        found = frame.similar_to(examples, **options)
        wanted = split(columns) if columns else ["name", "lab", "sample", "pixel_size"]
        match = ["match_box", "match_frame"] if places else ["match_box"]
        shown = ["similarity", *(name for name in wanted if name != "similarity"), *match, "uid"]
        output.print_frame(found[list(dict.fromkeys(shown))].to_pandas(), "json" if as_json else form)


@app.command()
def link(
    formula: Annotated[str, typer.Argument(help="""For example: hardness ~ embedding("texture")""")],
    db: Db = None,
    groups: Annotated[str, typer.Option(help="Columns that a fold must not split.")] = "sample",
    models: Annotated[str, typer.Option(help="Of ridge, elastic, gp, trees, set.")] = "ridge,gp,trees",
    hold_out: Annotated[str, typer.Option(help="Column whose labels are held out in turn.")] = "lab",
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Seed of folds and models.")] = 0,
    figure: Annotated[Path | None, typer.Option(help="Write the figure here (.png, .pdf, .svg).")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with everything here (.html).")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the fit to this folder, to predict with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Link a property to structure, with grouped cross-validation and baselines beside it."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        options: dict[str, Any] = {"models": split(models), "hold_out": hold_out, "seed": seed}
        fit = frame.link(formula, groups=tuple(split(groups)), **options)
    if figure:
        fit.figure(figure)
    if report:
        fit.report(report)
    if save:
        fit.save(save)
    if as_json:
        output.print_json(fit.as_json())
    else:
        output.console().print(repr(fit), markup=False, highlight=False)


@app.command()
def comparable(
    db: Db = None,
    by: Annotated[str, typer.Option(help="Column of the labels that are compared.")] = "lab",
    embedding: Annotated[str, typer.Option(help="Extractor or space of the vectors.")] = "texture",
    within: Annotated[str, typer.Option(help="Column of what is the same in any lab.")] = "material",
    measures: Annotated[str, typer.Option(help="Columns that should be alike for one material.")] = "",
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Seed of permutations and folds.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say whether the images of different labs or instruments can be compared, and in what they differ."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        options: dict[str, Any] = {"embedding": embedding, "within": within or None, "seed": seed}
        found = frame.comparable(by=by, measures=split(measures) if measures else (), **options)
    if as_json:
        output.print_json(found.as_json())
    else:
        output.console().print(repr(found), markup=False, highlight=False)


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="What micdb link --save wrote.")],
    db: Db = None,
    where: Where = None,
    form: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Predict a property of images by a link that was saved, with intervals."""
    from micdb import load_link, opening

    fit = load_link(folder)
    with opening.open(chosen(db)) as base:
        found = fit.predict(base.images.query(where) if where else base.images)
    output.print_frame(found, "json" if as_json else form)


@app.command()
def motif(
    source: Annotated[str, typer.Argument(help="Uid of an image, or a CSV file with x_nm, y_nm, species.")],
    db: Db = None,
    box: Annotated[str | None, typer.Option(help="Its atoms within x,y,width,height [pixel].")] = None,
    centre: Annotated[str | None, typer.Option(help="Its atoms about x,y [nm]; with --radius.")] = None,
    radius: Annotated[str | None, typer.Option(help="How far about it: '0.4 nm'.")] = None,
    number: Annotated[int, typer.Option("--frame", help="Frame of a stack, from 0.")] = 0,
    k: Annotated[int, typer.Option("-k", help="Number of places to print; all are counted.")] = 20,
    max_rmsd: Annotated[str, typer.Option(help="Largest root mean square distance.")] = "0.03 nm",
    species: Annotated[bool, typer.Option(help="Atoms of known species must agree.")] = True,
    mirror: Annotated[bool, typer.Option(help="The mirror image counts too.")] = True,
    extra: Annotated[bool, typer.Option("--extra", help="Further atoms may lie inside.")] = False,
    where: Where = None,
    form: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Find every place where atoms are arranged as in a motif of 5 to 30 atoms."""
    from micdb import opening
    from micdb.query.motif.motif import Motif, numbers_of

    with opening.open(chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        if source.endswith(".csv"):
            if box or centre or radius:
                raise UsageError("a CSV file is a whole motif: leave --box, --centre and --radius out")
            wanted = Motif.from_csv(source)
        else:
            wanted = Motif.from_image(
                frame, source, box=box_of(box), centre=numbers_of(centre), radius=radius, frame=number
            )
        found = frame.find_motif(wanted, k=k, max_rmsd=max_rmsd, species=species, mirror=mirror, extra=extra)
    print_places(found, "json" if as_json else form)
