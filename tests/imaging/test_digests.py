import hashlib

import numpy as np
import pytest

from lowshot.errors import UnreadableFile
from lowshot.imaging.digests import LOOKED_AT, digest, digests, fingerprint


def test_a_files_digest_is_what_sha256sum_prints(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digests([tmp_path / "a"]) == {str(tmp_path / "a"): hashlib.sha256(b"abc").hexdigest()}


def test_a_folders_digest_depends_on_every_file_and_on_no_others(tmp_path):
    (tmp_path / "1").write_bytes(b"a")
    (tmp_path / "2").write_bytes(b"b")
    before = digest(tmp_path)
    (tmp_path / "2").write_bytes(b"c")
    after = digest(tmp_path)
    assert len({before, after, digest(tmp_path / "1")}) == 3
    assert digest(tmp_path.with_name(f"{tmp_path.name}#4")) == after


def test_a_missing_file(tmp_path):
    with pytest.raises(UnreadableFile, match="cannot be read"):
        digest(tmp_path / "a")


def test_scans_have_fingerprints_of_their_own(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a", "b"):  # as headers and borders are, beginning and end are the same
        middle = random.bytes(3 * LOOKED_AT)
        (tmp_path / name).write_bytes(bytes(4 * LOOKED_AT) + middle + bytes(4 * LOOKED_AT))
    a, b = tmp_path / "a", tmp_path / "b"
    assert len({fingerprint([a]), fingerprint([b]), fingerprint([a, b]), fingerprint([b, a])}) == 4
    (tmp_path / "copy").write_bytes(a.read_bytes())
    assert fingerprint([tmp_path / "copy"]) == fingerprint([a])


def test_the_fingerprint_of_a_series_tells_how_many_files_it_has(tmp_path):
    (tmp_path / "1").write_bytes(b"a")
    before = fingerprint([tmp_path])
    (tmp_path / "2").write_bytes(b"b")
    assert fingerprint([tmp_path]) != before
    with pytest.raises(UnreadableFile):
        fingerprint([tmp_path / "3"])
