"""Protocols of public data sets: their folds on whole sets and on subsets, and every one of them from end to end."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from lowshot.benchmarking.distributed import arranged
from lowshot.datasets.table import DATASETS
from lowshot.errors import InputError
from lowshot.progress import Silent
from lowshot.protocols.breast import sizes
from lowshot.protocols.btcv import bounds, pools, seven_in_turn
from lowshot.protocols.candi import all_labelled, one_atlas, several_atlases
from lowshot.protocols.few_shot import KIDNEYS, ORGANS, UPPER
from lowshot.protocols.five_folds import five_folds
from lowshot.protocols.mrbrains import drawn_shots, each_in_turn, leave_one_out
from lowshot.protocols.one_slice import TESTED_IN_SYNAPSE, listed, of_patients
from lowshot.protocols.registry import PROTOCOLS
from protocols.tiny_rows import SIZES, WITHOUT_DATA, brief, run_all

PUBLISHED = [name for name, protocol in PROTOCOLS.items() if protocol.distributed is not None]


def numbered(n):
    return tuple(str(number) for number in range(1, n + 1))


@pytest.mark.parametrize("n", [10, 20, 30, 35])
@pytest.mark.parametrize("support", ["next", "last", "first", "in block"])
def test_five_folds_segment_what_neither_base_nor_support_holds(n, support):
    folds = five_folds(numbered(n), ("liver",), support)
    assert len(folds) == 5
    for fold in folds:
        every = Counter([*fold.support, *fold.queries, *fold.base])
        assert every == Counter(numbered(n))
        assert (len(fold.support), fold.new) == (1, "liver")
        assert fold.queries


@pytest.mark.parametrize("n", [6, 20, 30, 35])
def test_over_five_folds_of_alpnet_every_scan_is_a_query_once(n):
    folds = five_folds(numbered(n), ("liver",))
    assert Counter(case for fold in folds for case in fold.queries) == Counter(numbered(n))


def test_the_supports_of_chaos_are_those_of_the_public_code():
    by_variant = {
        support: [fold.support[0] for fold in five_folds(numbered(20), ("liver",), support)]
        for support in ("next", "last", "first", "in block")
    }
    assert by_variant == {
        "next": ["5", "9", "13", "17", "1"],
        "last": ["5", "9", "13", "17", "20"],
        "first": ["1", "5", "9", "13", "1"],
        "in block": ["1", "5", "9", "13", "17"],
    }


@pytest.mark.parametrize(("n", "base", "queries"), [(20, 16, 3), (30, 24, 5)])
def test_folds_of_gcn_de_have_the_sizes_of_its_paper(n, base, queries):
    sizes_of_folds = {(len(f.base), len(f.queries)) for f in five_folds(numbered(n), ("liver",), "in block")}
    assert sizes_of_folds == {(base, queries)}


def test_five_folds_of_too_few_are_refused():
    assert five_folds(numbered(6), ("liver",))
    with pytest.raises(ValueError, match="needs 10 annotated cases"):
        five_folds(numbered(9), ("liver",), "in block")


def test_in_setting_two_the_group_of_the_new_organ_is_hidden():
    for fold in five_folds(numbered(20), ORGANS, setting=2):
        assert fold.hidden == (UPPER if fold.new in UPPER else KIDNEYS)
    assert not any(fold.hidden for fold in five_folds(numbered(20), ORGANS))


def test_brains_teach_in_turn_and_are_drawn_without_repetition():
    assert [fold.support for fold in each_in_turn(numbered(7))] == [(case,) for case in numbered(7)]
    drawn = drawn_shots(numbered(7))
    assert Counter(len(fold.support) for fold in drawn) == {2: 7, 3: 7}
    assert len({fold.support for fold in drawn}) == 14
    assert drawn_shots(numbered(7)) == drawn
    for fold in (*drawn, *leave_one_out(numbered(7))):
        assert sorted((*fold.support, *fold.queries)) == list(numbered(7))
    assert Counter(len(fold.support) for fold in drawn_shots(numbered(4))) == {2: 6, 3: 4}


def test_candi_has_one_atlas_82_without_labels_and_20_to_test():
    (fold,) = one_atlas(numbered(103))
    assert fold.closest
    fold = fold.with_atlas(fold.support[3])
    assert (len(fold.support), len(fold.unlabelled), len(fold.queries)) == (1, 82, 20)
    assert not fold.transductive
    assert [len(each.support) for each in several_atlases(numbered(103))] == [2, 3, 4, 5]
    (bound,) = all_labelled(numbered(103))
    assert (bound.name, bound.queries) == ("83 labelled", fold.queries)


def test_of_acdc_as_many_of_each_group_are_in_pool_and_test():
    cases = tuple(f"patient{number:03d}_frame01" for number in range(1, 101))
    (fold,) = of_patients(cases)
    for chosen, of_each in ((fold.queries, 2), (fold.support, 14)):
        groups = Counter((int(case[7:10]) - 1) // 20 for case in chosen)
        assert groups == dict.fromkeys(range(5), of_each)


def test_of_acdc_no_patient_is_in_pool_and_test():
    cases = tuple(f"patient{n:03d}_frame{frame}" for n in range(1, 101) for frame in ("01", "12"))
    (fold,) = of_patients(cases)
    assert (len(fold.support), len(fold.queries)) == (140, 20)
    patients = [{case.partition("_")[0] for case in part} for part in (fold.support, fold.queries)]
    assert not patients[0] & patients[1]


def test_synapse_is_split_as_transunet_lists_it():
    cases = tuple(f"{n:04d}" for n in (*range(1, 11), *range(21, 41)))
    (fold,) = listed(cases)
    assert (len(fold.support), len(fold.queries)) == (18, 12)
    assert {int(case) for case in fold.queries} == set(TESTED_IN_SYNAPSE)


def test_cases_may_have_other_names_as_long_as_they_have_numbers():
    (fold,) = listed(("case_0001", "case_0005"))
    assert (fold.queries, fold.support) == (("case_0001",), ("case_0005",))
    for arrange in (listed, of_patients):
        with pytest.raises(ValueError, match="needs cases with numbers in their names, which "):
            arrange(("a", "b", "c", "d"))


def test_btcv_and_ultrasound_have_the_sizes_of_the_paper():
    seven = {case for fold in seven_in_turn(numbered(27)) for case in fold.support}
    assert len(seven) == 7
    for candidates in pools(numbered(27)):
        assert candidates.closest
        fold = candidates.with_atlas(candidates.support[2])
        assert (len(fold.support), len(fold.queries)) == (1, 6)
        assert {*fold.support, *fold.queries} == seven
        assert not seven & set(fold.unlabelled)
    assert [len(fold.unlabelled) for fold in pools(numbered(27))] == [5, 10, 20]
    assert [len(fold.support) for fold in bounds(numbered(27))] == [6] * 7 + [20]
    folds = sizes(numbered(780))
    assert [(fold.drawn or len(fold.support), len(fold.queries)) for fold in folds] == [
        *((2, 100), (11, 100), (22, 100), (220, 100)),
    ]


def test_busi_is_drawn_among_images_that_show_a_lesion():
    kinds = {"benign": 437, "malignant": 210, "normal": 133}
    cases = tuple(f"{kind} ({n})" for kind, count in kinds.items() for n in range(1, count + 1))
    folds = PROTOCOLS["busi-images"].distributed.arrange(cases)
    assert {len(fold.queries) for fold in folds} == {100}
    assert not any(case.startswith("normal") for fold in folds for case in (*fold.support, *fold.queries))


@pytest.mark.parametrize("name", PUBLISHED)
def test_too_few_cases_are_refused_with_how_many_it_needs(name):
    with pytest.raises(ValueError, match="needs "):
        PROTOCOLS[name].distributed.arrange(("1",))


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_knows_its_data_set_and_its_phantoms_show_every_structure(name):
    one = PROTOCOLS[name]
    assert set(one.distributed.structures) <= set(DATASETS[one.distributed.dataset].structures.values())
    assert one.differs
    assert one.study is not None


def test_a_folder_that_holds_too_little_is_one_clear_message(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="expected CHAOS, T2-SPIR, found 0 of 20 cases"):
        arranged(PROTOCOLS["chaos-five-folds"], tmp_path / "data", tmp_path / "out", Silent())


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """One folder for all protocols that are shown on the same phantoms: these are written and prepared once."""
    folders = defaultdict[str, Path](lambda: tmp_path_factory.mktemp("study"))
    return lambda one: folders[repr((one.distributed.dataset, one.distributed.structures, one.study))]


def smaller(one):
    """A sixth of the pixels along each side of what the data set's slices become, and smaller phantoms."""
    recipe, study = one.distributed.recipe, one.study
    changed = {}
    for name in ("resize", "size"):
        if (wanted := getattr(recipe, name)) is not None:
            changed[name] = (wanted[0] // 6, wanted[1] // 6, wanted[2])
    if recipe.spacing_mm is not None:
        i, j, k = recipe.spacing_mm
        changed["spacing_mm"] = (6 * i, 6 * j, k)
    shape = study.shape if recipe.border else tuple(max(1, 2 * size // 3) for size in study.shape)
    distributed = replace(one.distributed, recipe=replace(recipe, **changed))
    return replace(one, distributed=distributed, study=replace(study, shape=shape))


def new_rows():
    """Of each protocol the rows that differ from all before in what they change, and its reference if none does."""
    seen = set()
    for one in (*(PROTOCOLS[name] for name in WITHOUT_DATA), *(PROTOCOLS[name] for name in PUBLISHED)):
        names = []
        for name, system in one.systems.items():
            changed = (*sorted(set(system.settings) - set(SIZES)), *sorted(system.options.items()), system.granted)
            kind = (system.method, system.preset, *changed)
            if kind not in seen:
                names += [name] if system.model_of is None else [name, system.model_of]
            seen.add(kind)
        if one.distributed is not None:
            rows = dict.fromkeys(names or [one.reference])
            yield pytest.param(one.name, tuple(rows), id=one.name)


@pytest.mark.slow
@pytest.mark.usefixtures("brief_alignment")
@pytest.mark.parametrize(("name", "rows"), list(new_rows()))
def test_every_one_runs_from_end_to_end_on_phantoms_in_its_data_set_s_layout(name, rows, folder_of, tmp_path):
    one = smaller(PROTOCOLS[name])
    one, data = arranged(one, None, folder_of(one), Silent())
    one = replace(one, systems=one.chosen(rows), reference=rows[0])
    for record in run_all(brief(one), data, tmp_path):
        assert record["fold"]["support"] == list(one.folds[0].support)
