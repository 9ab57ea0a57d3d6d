"""``torchrun`` runs this in two processes: fits what is in the catalogue and the fakes, and keeps what came out."""

import json
import sys
from pathlib import Path

import torch

from contract import tiny
from contract.fakes import FAKES
from contract.studies import TASKS
from lowshot import catalogue
from lowshot.training.run import Budget, Run

catalogue.CATALOGUE |= FAKES
for name in catalogue.CATALOGUE:
    method = catalogue.create(name, catalogue.settings(name, "compact", tiny.SETTINGS.get(name)))
    task = next(task for task in TASKS.values() if not method.problems(task))
    run = Run(device="cpu", precision="float32", memory_format="contiguous", budget=Budget(steps=3))
    state = method.fit(task, run).state()
    content = {"header": json.dumps(state.header), "tensors": state.tensors}
    torch.save(content, Path(sys.argv[1]) / f"{name} {run.rank}.pt")
