import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from lowshot.errors import OutputError
from lowshot.imaging.names import Names
from lowshot.reporting.palette import colour
from lowshot.reporting.samples import UNKNOWN, picture, write_samples

NAMES = Names.of({1: "liver", 2: "spleen", 3: "kidney"})


def batch(count=5, size=(20, 30)):
    labels = torch.zeros(count, *size, dtype=torch.int16)
    labels[:, 3:12, 5:20], labels[:, 0:3, 25:30] = 1, 2  # the second is cut off by the border
    return torch.rand(count, 1, *size, generator=torch.Generator().manual_seed(0)), labels


def legend(figure):
    (found,) = figure.legends
    return {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(found.texts, found.get_patches(), strict=True)
    }


def test_a_png_appears_or_nothing_does(tmp_path):
    write_samples(tmp_path / "new" / "samples.png", *batch(), NAMES)
    pixels = matplotlib.image.imread(tmp_path / "new" / "samples.png")
    for index in (1, 2):
        assert np.isclose(pixels[..., :3], to_rgb(colour(index)), atol=0.01).all(-1).any()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_samples(tmp_path / "file" / "samples.png", *batch(), NAMES)


def test_any_name_of_the_file_holds_a_png(tmp_path):
    write_samples(tmp_path / "samples", *batch(1), NAMES)
    assert (tmp_path / "samples").read_bytes().startswith(b"\x89PNG")


def test_the_legend_has_what_is_there_in_the_reports_colours():
    image, labels = batch()
    assert legend(picture(image, labels, NAMES)) == {"liver": colour(1), "spleen": colour(2)}
    known = torch.ones_like(labels, dtype=torch.bool)
    assert "not known" not in legend(picture(image, labels, NAMES, known))
    known[2, 5:] = False
    assert legend(picture(image, labels, NAMES, known))["not known"] == UNKNOWN
    assert not picture(image, torch.zeros_like(labels), NAMES).legends


def test_every_slice_is_there_twice_in_one_grey_window_its_first_axis_from_right_to_left_its_second_upwards():
    image, labels = batch(5)
    image[3] += 0.5
    figure = picture(image.to(torch.bfloat16), labels, NAMES)
    drawn = [panel.images[0] for panel in figure.axes if panel.images]
    assert len(drawn) == 10
    assert len({each.get_clim() for each in drawn}) == 1
    for n in range(4):  # the first row of four, and its outlines
        for each in (drawn[n], drawn[4 + n]):
            np.testing.assert_allclose(each.get_array(), image[n, 0].T.flip(0, 1), atol=0.01)


def test_outlines_run_around_structures_and_are_closed_at_the_border():
    image, labels = batch(1)
    outlined = [panel for panel in picture(image, labels, NAMES).axes if panel.collections]
    (panel,) = outlined
    liver, spleen = (lines.get_paths()[0].vertices for lines in panel.collections)
    assert liver.min(0).tolist() == [7.5, 9.5]
    assert liver.max(0).tolist() == [16.5, 24.5]
    assert spleen.min(0).tolist() == [16.5, -0.5]
    assert spleen.max(0).tolist() == [19.5, 4.5]
