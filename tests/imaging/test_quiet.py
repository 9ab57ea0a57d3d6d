import logging
import os
import subprocess
import sys
import warnings
from contextlib import suppress

import nibabel
import pytest

from imaging.stored_images import OBLIQUE, image_array
from lowshot.imaging.files import read_scan
from lowshot.imaging.quiet import no_output, quiet


def test_warnings_and_logs_are_dropped_and_heard_again(capfd):
    log = logging.getLogger("nibabel.global")
    with quiet():
        warnings.warn("from a library", stacklevel=1)
        log.warning("from nibabel")
    assert capfd.readouterr().err == ""
    assert log.isEnabledFor(logging.WARNING)
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", stacklevel=1)


def test_the_output_of_c_libraries_is_dropped_and_comes_back_after_an_error(capfd):
    for descriptor in (1, 2):
        os.write(descriptor, b"before,")
        with suppress(ZeroDivisionError), no_output():
            os.write(descriptor, b"inside,")
            raise ZeroDivisionError
        os.write(descriptor, b"after")
    assert capfd.readouterr() == ("before,after", "before,after")


def test_what_c_and_python_have_gathered_goes_where_it_was_meant_to_go():
    """Both keep text back until there is enough of it, so that it would turn up on the other side."""
    code = """
import ctypes, sys
from lowshot.imaging.quiet import no_output
library = ctypes.CDLL(None)
print("Python,", end="")
with no_output():
    library.printf(b"dropped,")
    print("dropped,", end="")
print("after")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("Python,after\n", "")


def test_what_nibabel_repairs_is_not_told(tmp_path):
    """A negative voxel size, which it takes for a positive one, is no news for a user: the sform places the voxels."""
    content = bytearray(nibabel.Nifti1Image(image_array(), OBLIQUE).to_bytes())
    content[80:84] = b"\x00\x00\x80\xbf"
    (tmp_path / "x.nii").write_bytes(content)
    code = f"from lowshot.imaging.files import read_scan; read_scan({str(tmp_path / 'x.nii')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert read_scan(tmp_path / "x.nii").grid.spacing == pytest.approx((0.9, 1.4, 3.3))
