"""Rows as something that can be cited.

::

    rows        the table that is cited, checked against what its query gives
    evidence    what stands behind it: images, runs with their cards, labs, people, moment
    whom        creators, title, publisher, year: given, or what the database knows
    records     DataCite JSON and CITATION.cff
    methods     the paragraph of a paper, from this very query
    bibtex      references of the methods
    crate       the folder as an RO-Crate
    folder      all of it, whole or not at all
"""
