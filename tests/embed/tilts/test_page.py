"""The page on tilts runs as it is printed."""


def test_the_page_of_tilts_runs(page):
    assert "beam_sd_deg" in page("tilts.md")
