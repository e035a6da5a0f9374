"""The picture of the method: as its script draws it, in words too, each notebook's box marked."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import nbformat
import numpy as np
import pytest

from trait_lib import ROOT
from trait_lib.repo import picture

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_drawing_is_what_the_script_draws_and_has_words():
    assert picture.FILE.read_text(encoding="utf-8") == picture.svg()
    root = ElementTree.fromstring(picture.svg())
    assert root.attrib["role"] == "img"
    assert root.find(f"{SVG}desc").text == picture.ALT
    assert f"![{picture.ALT}](figures/method.svg)" in (ROOT / "README.md").read_text()


def test_it_fits_a_phone_and_no_text_leaves_its_box():
    assert picture.WIDTH <= 390
    fig = picture.draw("03")
    renderer = fig.canvas.get_renderer()
    boxes = [patch.get_window_extent(renderer) for patch in fig.axes[0].patches]
    texts = [text for text in fig.axes[0].texts if text.get_text()]
    assert len(texts) == 2 * len(boxes) == 2 * len(picture.BOXES)
    for number, text in enumerate(texts):
        inside, words = boxes[number // 2], text.get_window_extent(renderer)
        assert inside.x0 <= words.x0 and words.x1 <= inside.x1, text.get_text()
        assert inside.y0 <= words.y0 and words.y1 <= inside.y1, text.get_text()
        assert text.get_fontsize() >= 9
    picture.plt.close(fig)


def pixels(encoded):
    return picture.plt.imread(io.BytesIO(base64.b64decode(encoded)), format="png")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda f: f.stem)
def test_each_notebook_opens_with_it_and_its_own_box_is_marked(path):
    cell = nbformat.read(path, as_version=4).cells[1]
    assert re.fullmatch(
        r"!\[The method.*This notebook: [a-z0-9 ,]+\.\]\(attachment:method.png\)", cell.source
    )
    found = pixels(cell.attachments[picture.NAME]["image/png"])
    assert np.abs(found - pixels(picture.png(path.stem[:2]))).mean() < 0.004
    assert np.abs(found - pixels(picture.png(""))).mean() > 0.004  # none marked
