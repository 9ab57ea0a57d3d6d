"""A mean teacher: the running average of a network's weights over its training (Tarvainen & Valpola, NeurIPS 2017)."""

import copy

import torch
from torch import nn


class MeanTeacher:
    """Follows a student and labels for it. Give ``network`` to ``train`` as state, and ``follow`` as ``after_step``."""

    def __init__(self, student: nn.Module, momentum: float = 0.99) -> None:
        self.network = copy.deepcopy(student).eval().requires_grad_(False)
        self._student, self._momentum = student, momentum

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Momentum · own + (1 − momentum) · the student's, of weights and of BatchNorm's statistics."""
        own, student = self.network.state_dict(), self._student.state_dict()
        for name, value in own.items():
            if value.is_floating_point():
                value.lerp_(student[name], 1 - self._momentum)
            else:
                value.copy_(student[name])
