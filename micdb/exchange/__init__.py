"""Exchange between laboratories: bundles out and in, and one database over several.

::

    terms       what may leave a database, and until when
    selection   the rows that belong to a set of images, closed under references
    written     a bundle is written: catalog, parts, thumbnails, objects, RO-Crate, manifest
    bundle      a bundle is opened, every byte checked, its catalog loaded and upgraded
    merge       the rows of one catalog join those of another; docs/decisions/0015-what-joins-what.md
    federation  several databases merged into one that only answers
"""
