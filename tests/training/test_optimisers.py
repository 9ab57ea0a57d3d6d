from types import SimpleNamespace

import pytest
from torch import nn
from torch.optim import SGD, AdamW

from lowshot.training.optimisers import optimiser_of


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adamw", AdamW)])
def test_an_optimiser_has_the_settings_of_its_method(name, kind):
    settings = SimpleNamespace(optimiser=name, learning_rate=0.1, momentum=0.5, weight_decay=0.25)
    made = optimiser_of(settings, nn.Linear(2, 1))
    (group,) = made.param_groups
    assert isinstance(made, kind)
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.1, 0.25, 2)
    assert group.get("momentum", 0.5) == 0.5
