"""ELNet's protocols on whole data sets: ACDC (70, 20 and 10 patients) and Synapse (18 and 12), one annotated slice."""

import random
import re
from dataclasses import replace
from operator import itemgetter

from lowshot.datasets.recipe import ELNET_SYNAPSE, RAW
from lowshot.phantoms.study import Study
from lowshot.protocols.elnet import FIVE, LOSSES, MODULES, TRANSFORMS
from lowshot.protocols.protocol import Distributed, Fold, Protocol, Published

SEED = 0
PATIENTS_IN_GROUP = 20
"""ACDC's patients 1 to 20 have a dilated heart, the next 20 a thick one, then come infarcts, healthy hearts, and right
ones that are ill."""
TRAINED, VALIDATED, TESTED = 70, 20, 10
TESTED_IN_SYNAPSE = (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)
"""As TransUNet lists them, and others after it."""
ORGANS = ("spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas")


def of_patients(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Patients, with all of their frames, are drawn with one stored seed, in the paper's proportion of every group."""
    patients = sorted({case.partition("_")[0] for case in cases})
    if len(patients) < 4:
        raise ValueError("needs 4 patients or more")
    drawn = _mixed(random.Random(SEED).sample(patients, len(patients)))  # noqa: S311 (nothing to keep secret)
    tested = max(1, round(len(drawn) * TESTED / 100))
    trained = max(1, round(len(drawn) * TRAINED / 100))

    def frames(chosen: list[str]) -> tuple[str, ...]:
        return tuple(case for case in cases if case.partition("_")[0] in chosen)

    pool = frames(drawn[tested : tested + trained])
    return (Fold("one slice", pool, frames(drawn[:tested]), unlabelled=pool, one_slice=True),)


def _mixed(patients: list[str]) -> list[str]:
    """The groups spread evenly, so that the first ten of a hundred patients have two of each."""
    groups: dict[int, list[str]] = {}
    for patient in patients:
        groups.setdefault((_number(patient) - 1) // PATIENTS_IN_GROUP, []).append(patient)
    places = [((at + 0.5) / len(group), patient) for group in groups.values() for at, patient in enumerate(group)]
    return [patient for _, patient in sorted(places, key=itemgetter(0))]


def _number(name: str) -> int:
    """The last number in the name of a case or a patient: 8 of "0008" and of "case_0008"."""
    found = re.findall(r"\d+", name)
    if not found:
        raise ValueError(f"needs cases with numbers in their names, which {name} has none of")
    return int(found[-1])


def listed(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Cases of the list are the test, the others the pool."""
    tested = tuple(case for case in cases if _number(case) in TESTED_IN_SYNAPSE)
    pool = tuple(case for case in cases if case not in tested)
    if not tested or not pool:
        raise ValueError(f"needs cases in and outside of {', '.join(map(str, TESTED_IN_SYNAPSE))}")
    return (Fold("one slice", pool, tested, unlabelled=pool, one_slice=True),)


HD95 = (
    "HD95: of the distances of both directions together, in voxels, as medpy computes it; of an empty prediction it is "
    "the image's diagonal. MT-UNet's scorer counts 0 there, and Dice 1 for what is predicted where the truth is empty: "
    "both stand in columns of their own; which of them the paper prints is not known"
)
FILLED_IN = {"own_backgrounds": 0.5}
ACDC = Protocol(
    name="acdc-one-slice",
    summary="ELNet's tables 1, 3 and 4 on ACDC: one annotated slice, 70 patients as the pool, 10 as the test",
    folds=(),
    distributed=Distributed(dataset="acdc", recipe=RAW, arrange=of_patients),
    systems={
        name: replace(row, seeds=FIVE, settings={**row.settings, **(FILLED_IN if row.method == "elnet" else {})})
        for name, row in {**MODULES, **LOSSES, **TRANSFORMS}.items()
        if row.published
    },
    reference="elnet",
    study=Study(anatomy="cardiac-mr", shape=(64, 64, 6), subjects=4),
    preset="paper",
    paper="elnet",
    dataset="acdc",
    patient_until="_",
    measures=("dice", "dice_legacy_empty", "hd95_pooled_voxels", "hd95_legacy_empty"),
    differs=(
        f"patients are drawn with seed {SEED}, in the paper's numbers and as many of each group (20 more are for "
        "validation, which nothing here uses); the paper's lists are not public",
        "one exemplar for each of five seeds",
        "backgrounds: black, or the exemplar's own slice with its structures filled in; the paper has slices free of "
        "organs, while 19 of 20 slices at the ends of such scans show some of the heart",
        HD95,
    ),
)
SYNAPSE = replace(
    ACDC,
    name="synapse-one-slice",
    summary="ELNet's tables 2 and 3 on Synapse: one annotated slice, 18 cases as the pool, 12 as the test",
    distributed=Distributed(dataset="btcv", recipe=ELNET_SYNAPSE, arrange=listed, structures=ORGANS),
    systems={
        name: replace(MODULES[name], seeds=FIVE, published={"": Published(table, printed)}, also=())
        for name, table, printed in (
            ("unet (exemplar alone)", "2", "u-net"),
            ("mt-unet (exemplar alone)", "2", "mt-unet"),
            ("mlds", "2", "mlds"),
            ("+ ESM", "3", "elnet[esm]"),
            ("+ PCEM in stage 1", "3", "elnet[esm,pcem-s1]"),
            ("elnet", "2", "elnet"),
        )
    },
    study=Study(anatomy="abdomen-ct", shape=(64, 56, 48), subjects=6, variation=0.3, structures=ORGANS),
    variant="synapse",
    dataset="synapse",
    patient_until="",
    differs=("one exemplar for each of five seeds, of a slice that shows all eight organs", HD95),
)
