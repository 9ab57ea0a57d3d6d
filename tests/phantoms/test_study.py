from dataclasses import replace

import numpy as np
import pytest
import torch

from lowshot.errors import SettingsError
from lowshot.phantoms.study import DEMO, Study

TINY = Study(subjects=2, shape=(20, 20, 16))


@pytest.fixture(scope="module")
def study():
    return list(TINY)


def test_a_study_has_as_many_subjects_as_asked_with_names_in_order(study):
    assert len(TINY) == len(study) == 2
    assert [subject.scan.name for subject in study] == ["subject-01", "subject-02"]
    assert not torch.equal(study[0].truth.labels, study[1].truth.labels)


def test_more_subjects_leave_the_first_ones_as_they_were(study):
    (alone,) = replace(TINY, subjects=1)
    assert torch.equal(alone.scan.voxels, study[0].scan.voxels)


def test_another_seed_gives_other_subjects(study):
    assert not torch.equal(next(iter(replace(TINY, seed=1))).scan.voxels, study[0].scan.voxels)


def test_an_unknown_anatomy_is_refused_with_a_list_of_those_there_are():
    with pytest.raises(SettingsError, match="no anatomy named 'unicorn'; there are: abdomen-ct, abdomen-mr, brain-mr"):
        Study(anatomy="unicorn")


def test_the_demo_is_small_and_shows_all_that_it_annotates():
    subject = next(iter(DEMO))
    assert subject.scan.grid.shape == (96, 80, 64)
    counts = np.bincount(subject.truth.labels.numpy().ravel(), minlength=len(subject.truth.names))
    assert set(DEMO.structures) == set(subject.truth.names.foreground)
    assert counts.min() > 300
    assert not subject.truth.labels.numpy()[[0, -1]].any()  # nothing is cut off at the sides
