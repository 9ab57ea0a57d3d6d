from dataclasses import replace

import pytest
import torch

from contract.studies import BASE, NAMES, SHAPE, partly_known, subject
from lowshot.benchmarking.new_structure import granted_range, only
from lowshot.errors import SettingsError
from lowshot.fewshot.pairing import PairingOptions
from lowshot.inference.few_shot_model import FewShotModel
from lowshot.inference.predict import predict
from lowshot.methods.copied_mask import SURE, CopiedMask, CopiedMasks
from lowshot.methods.presets import COPIED_MASK
from lowshot.task import LowShotTask
from lowshot.training.run import Run

RUN = Run(device="cpu", precision="float32", memory_format="contiguous")
AS_STORED = CopiedMasks(size=SHAPE[:2])


def fitted(*support, method=AS_STORED):
    return method.fit(LowShotTask(NAMES, support), RUN)


def found(model, scan, **options):
    return predict(model, scan, RUN, PairingOptions(**options)).segmentation.labels


def test_of_one_support_the_mask_is_copied_and_of_several_their_mean():
    masks = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    logits = CopiedMask()(torch.rand(1, 2, 1, 1, 2), masks, torch.rand(3, 1, 1, 2))
    assert logits.tolist() == [[[SURE, 0.0]]] * 3
    each = CopiedMask()(torch.rand(2, 1, 1, 1, 2), masks.movedim(0, 1), torch.rand(2, 1, 1, 2))
    assert each.tolist() == [[[SURE, -SURE]], [[SURE, SURE]]]


def test_what_the_query_shows_makes_no_difference():
    model = fitted(subject(0))
    one, other = subject(5).scan, subject(6).scan
    assert found(model, one, pairing="chunks").equal(found(model, other, pairing="chunks"))


def test_a_copied_mask_expects_nothing_of_itself():
    quality = predict(fitted(subject(0)), subject(5).scan, RUN, PairingOptions()).quality
    assert set(quality.values()) == {None}


def test_cut_to_its_own_range_a_scan_gets_its_own_slices_back():
    """As many chunks as slices: each slice is its own example."""
    labelled = only(subject(5), "right organ")  # on three slices, with 11, 35 and 27 pixels
    slices = granted_range(labelled, "right organ")
    part = replace(labelled.scan, voxels=labelled.scan.voxels[..., slices])
    model = AS_STORED.fit(LowShotTask(labelled.truth.names, [labelled]), RUN)
    copied = found(model, part, pairing="chunks", chunks=99)
    assert copied.shape[2] == 3
    assert copied.equal(labelled.truth.labels[..., slices])


def test_laid_upon_itself_a_scan_gets_nearly_its_own_labels_back():
    labelled = subject(0)
    copied, own = found(fitted(labelled), labelled.scan, shots=1, prior=0.0), labelled.truth.labels
    for k in (1, 2, 3):
        overlap = 2 * float(((copied == k) & (own == k)).sum()) / float((copied == k).sum() + (own == k).sum())
        assert overlap > 0.8


def test_it_needs_an_annotated_scan_and_no_base():
    assert "give at least one" in CopiedMasks().problems(LowShotTask(NAMES, base=BASE))[0]
    assert CopiedMasks().problems(LowShotTask(NAMES, [subject(0)], base=BASE)) == []


def test_it_is_rebuilt_from_its_examples_alone():
    model = fitted(partly_known(subject(0), 1), subject(1))
    state = model.state()
    assert all(name.startswith("example") for name in state.tensors)
    again = AS_STORED.restore(state)
    assert isinstance(again, FewShotModel)
    assert found(again, subject(5).scan, pairing="chunks").equal(found(model, subject(5).scan, pairing="chunks"))


def test_its_presets_can_be_made():
    assert {CopiedMasks(**values).size for values in COPIED_MASK.values()} == {(256, 256), (128, 128)}


@pytest.mark.parametrize(
    ("wrong", "message"), [({"size": (0, 16)}, "resize"), ({"size": (4097, 4096)}, "size: expected at most")]
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        CopiedMasks(**wrong)
