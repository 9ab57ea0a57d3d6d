import subprocess
import sys

import pytest
import torch

from lowshot.registration.descent import Adam


def trodden(step_of, steps=30):
    """Where two tensors come to on a curved surface, with rates that fall."""
    parameters = [
        torch.linspace(-1, 2, 5, requires_grad=True),
        torch.ones(2, 3, dtype=torch.float64, requires_grad=True),
    ]
    step = step_of(parameters)
    for n in range(steps):
        first, second = parameters
        loss = (first - 0.3).pow(4).sum() + (second * second - 2).square().sum() + first.sum() * second.sum()
        loss.backward()
        step(0.1 / (1 + n))
    return [each.detach() for each in parameters]


def test_it_goes_where_pytorchs_goes():
    def theirs(parameters):
        optimiser = torch.optim.Adam(parameters)

        def step(rate):
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()

        return step

    for own, other in zip(trodden(lambda parameters: Adam(parameters).step), trodden(theirs), strict=True):
        torch.testing.assert_close(own, other)


def test_a_tensor_without_a_gradient_is_an_error():
    with pytest.raises(ValueError, match="without a gradient"):
        Adam([torch.zeros(2, requires_grad=True)]).step(0.1)


def test_registering_loads_no_compiler():
    program = """
import sys, torch
from lowshot.imaging.grid import Grid
from lowshot.registration.affine import Picture, align
from lowshot.registration.deformable import Refinement
from lowshot.registration.pairwise import deformed
import numpy as np
voxels = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
picture = Picture.of("a", voxels, Grid((16, 16, 16), np.eye(4)))
deformed(picture, picture, align(picture, picture), picture.grid, Refinement.of(((1, 2),)))
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
