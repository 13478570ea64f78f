"""The page on defects in STM images runs as it is printed."""


def test_the_page_of_stm_defects_runs(page):
    said = page("stm.md", then="print(im.defects.count(), set(im.defects.to_pandas().kind))")
    assert "small-" in said
    assert "{'Se vacancy'}" in said
