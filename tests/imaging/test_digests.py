import hashlib

import pytest

from lowshot.errors import UnreadableFile
from lowshot.imaging.digests import digest, digests


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
