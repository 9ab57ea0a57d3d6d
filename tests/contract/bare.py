"""Imports, fits and uses every method where image libraries and what only the command line needs are missing."""

import importlib
import sys
from importlib.abc import MetaPathFinder

IMAGES = {"nibabel", "SimpleITK", "pydicom", "monai", "matplotlib"}
COMMAND_LINE = {"pydantic", "typer", "rich"}


class Missing(MetaPathFinder):
    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{fullname} is blocked", name=fullname)


finder = Missing(IMAGES | COMMAND_LINE | {"lightning_fabric"})
sys.meta_path.insert(0, finder)

from lowshot import catalogue  # noqa: E402 (after the block)

addresses = {name: entry.method.partition(":") for name, entry in catalogue.CATALOGUE.items()}
classes = {name: getattr(importlib.import_module(module), cls) for name, (module, _, cls) in addresses.items()}
print("imported", *classes)

finder.packages = IMAGES | COMMAND_LINE  # processes are connected by Fabric, which is no image library

from contract import tiny  # noqa: E402
from contract.studies import NAMES, TASKS, subject  # noqa: E402
from lowshot.contract import Model  # noqa: E402
from lowshot.inference.predict import predict  # noqa: E402
from lowshot.training.run import Budget, Run  # noqa: E402

for name, cls in classes.items():
    method = cls(**catalogue.settings(name, "compact", tiny.SETTINGS.get(name)))
    task = next(task for task in TASKS.values() if not method.problems(task))
    run = Run(device="cpu", precision="float32", memory_format="contiguous", budget=Budget(steps=1))
    fitted = method.fit(task, run)
    model = fitted if isinstance(fitted, Model) else fitted.adapt([subject(0)], NAMES, run)
    if catalogue.entry(name).extra is None:  # an extra may need them
        predict(model, subject(1).scan, run, method.Options())
    print("fitted", name)
