"""Exchange between laboratories: bundles out and in, and one database over several.

::

    terms       what may leave a database, and until when
    selection   the rows that belong to a set of images, closed under references
    written     a bundle is written: catalog, parts, thumbnails, objects, RO-Crate, manifest
    opened      a bundle is opened, every byte checked, its catalog loaded and upgraded
    arriving    all of it joins a database, from a supply to a receiver
    joining     how rows do: docs/decisions/0015-what-joins-what.md
    doors       what `micdb.database.Database` offers; `micdb.federation` merges several databases into one
"""
