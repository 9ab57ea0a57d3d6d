from dataclasses import replace

import pytest
import torch

from contract.studies import NAMES, subject
from lowshot.errors import SettingsError
from lowshot.imaging.scan import LabelledScan
from lowshot.methods.mlds import MLDS, DeeplySupervised, draw, multi_label_loss
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from lowshot.transforms.levels import AUGMENTATION
from lowshot.transforms.slices import Slices, unlabelled

TINY = {"size": (16, 16), "widths": (4, 8), "exemplars": 3, "pool": 2, "learning_rate": 1e-2}


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def one_slice(labelled: LabelledScan, k=5) -> LabelledScan:
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known[..., k] = True
    return replace(labelled, known=known)


def test_a_cell_is_asked_for_every_structure_it_shows():
    """Two cells of 2×2 pixels: the left one holds classes 0 and 1, the right one class 2 alone."""
    labels = torch.tensor([[[0, 0, 2, 2], [0, 1, 2, 2]]])
    right = torch.tensor([[[[9.0, -9.0]], [[9.0, -9.0]], [[-9.0, 9.0]]]])
    known = torch.ones_like(labels, dtype=torch.bool)
    assert multi_label_loss(right, labels, known) < 1e-3
    for k in range(3):
        wrong = right.clone()
        wrong[:, k] *= -1
        assert float(multi_label_loss(wrong, labels, known)) == pytest.approx(9.0 / 3, rel=1e-2)


def test_of_a_cell_with_an_unknown_pixel_only_what_is_seen_in_it_is_asked():
    labels = torch.tensor([[[0, 0, 2, 2], [0, 1, 2, 2]]])
    known = torch.ones_like(labels, dtype=torch.bool)
    known[0, 1, 1] = False
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 0, 0, 0] = 9.0  # background is seen there; of the structures nothing is known
    logits[..., 1] = torch.tensor([-9.0, -9.0, 9.0]).view(1, 3, 1)
    assert multi_label_loss(logits, labels, known) < 1e-3
    logits[0, 0, 0, 0] = -9.0
    assert multi_label_loss(logits, labels, known) > 1
    assert float(multi_label_loss(logits, labels, torch.zeros_like(known))) == 0


def test_it_answers_at_every_size_of_the_decoder():
    maps = DeeplySupervised(1, 3, (4, 8, 16))(torch.randn(2, 1, 16, 24))
    assert [tuple(each.shape) for each in maps] == [(2, 3, 4, 6), (2, 3, 8, 12), (2, 3, 16, 24)]


def test_the_teacher_sees_the_grey_values_and_the_student_does_not():
    own = Slices(torch.rand(2, 1, 16, 16), torch.zeros(2, 16, 16, dtype=torch.int16), torch.ones(2, 16, 16).bool())
    pool = unlabelled(torch.rand(5, 1, 16, 16))
    batches = [
        draw(own, pool, (3, 4), AUGMENTATION[level], run(), 0, torch.Generator().manual_seed(1))
        for level in ("turns", "wide")
    ]
    assert batches[0].pool.image.equal(batches[0].plain_pool)
    assert not batches[1].pool.image.equal(batches[1].plain_pool)
    assert len(batches[1].exemplars.image) == 3
    assert len(batches[1].plain_pool) == 4


class Bright(torch.nn.Module):
    """A teacher that marks what is bright, at one size."""

    def forward(self, image):
        return [torch.cat([0.5 - image, image - 0.5], dim=1)]


def test_what_is_mirrored_in_from_beyond_a_slice_is_not_learned_from():
    own = Slices(torch.rand(2, 1, 16, 16), torch.zeros(2, 16, 16, dtype=torch.int16), torch.ones(2, 16, 16).bool())
    pool = unlabelled(torch.rand(5, 1, 16, 16))
    still, turned = (
        draw(own, pool, (3, 4), AUGMENTATION[level], run(), 0, torch.Generator().manual_seed(1))
        for level in ("none", "turns")
    )
    assert still.pool.known.all()
    assert not turned.pool.known.all()
    assert turned.pool.known[:, 6:10, 6:10].all()
    method, student = MLDS(**TINY, confidence=0.0), DeeplySupervised(1, 2, (4, 8))
    for part, matters in ((turned.pool.known, True), (~turned.pool.known, False)):
        seen = [turned.plain_pool, turned.plain_pool + part[:, None]]  # the teacher finds something else there
        first, other = (method._loss(student, Bright(), turned._replace(plain_pool=each), 1.0)["pool"] for each in seen)
        assert bool(first != other) == matters


def test_it_learns_from_one_slice_and_a_pool():
    task = LowShotTask(NAMES, [one_slice(subject(0))], unlabelled=[subject(5).scan])
    method = MLDS(**TINY)
    assert method.problems(task) == []
    model = method.fit(task, run())
    assert model.names == NAMES
    assert not any(name.startswith("heads") for name in model.state().tensors)


def test_without_a_pool_it_refuses():
    assert "--unlabelled" in MLDS(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert MLDS(**TINY).problems(LowShotTask(NAMES, [one_slice(subject(0))])) == []
    some = torch.ones_like(subject(0).truth.labels, dtype=torch.bool)
    some[0] = False  # an ignore value in every slice
    assert "--unlabelled" in MLDS(**TINY).problems(LowShotTask(NAMES, [replace(subject(0), known=some)]))[0]
    (problem,) = MLDS(**TINY).problems(LowShotTask(NAMES, [replace(subject(0), known=~some)]))
    assert "the annotated slice lies along axis 0" in problem


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (15, 16)}, "size: expected multiples of 2"),
        ({"widths": (4,)}, "2 to 8 widths"),
        ({"confidence": 1.5}, "confidence: expected a share"),
        ({"steps": 0}, "steps: expected more than 0"),
        ({"size": (8192, 8192)}, "size: expected at most"),
        ({"weight_decay": -1.0}, "weight_decay: expected a number from 0 on"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        MLDS(**(TINY | wrong))
