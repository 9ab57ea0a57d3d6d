from itertools import product

import pytest

from lowshot import catalogue
from lowshot.benchmarking.cell import slug
from lowshot.benchmarking.measures import MEASURES
from lowshot.benchmarking.tables import PUBLISHED_COSTS
from lowshot.errors import SettingsError
from lowshot.protocols.protocol import Fold
from lowshot.protocols.published import figures, published
from lowshot.protocols.registry import PROTOCOLS, protocol

EVERY = PROTOCOLS.values()


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
class TestEvery:
    def test_no_query_is_among_the_annotated(self, one):
        assert not any(set(fold.support) & set(fold.queries) for fold in one.folds)

    def test_every_system_can_be_made(self, one):
        for system in one.systems.values():
            catalogue.create(
                system.method, catalogue.settings(system.method, system.preset or one.preset, system.settings)
            )

    def test_rows_and_folds_can_be_told_on_the_command_line(self, one):
        assert not any("," in name for name in (*one.systems, *(fold.name for fold in one.folds)))

    def test_rows_lean_on_rows(self, one):
        for system in one.systems.values():
            assert {system.model_of, system.as_long_as} <= {None, *one.systems}

    def test_every_published_cell_exists(self, one):
        for system in one.systems.values():
            for where in (*system.published.values(), *system.also):
                for measure in one.measures if one.paper == "mre-net" else one.measures[:1]:
                    names = product(MEASURES[measure].printed_as, (*one.means, "lesion"))
                    assert any(published(one, where, *each) for each in names)

    def test_every_quoted_row_exists(self, one):
        printed = {(each.paper, each.dataset, each.table, each.method, each.setting) for each in figures()}
        for places in one.quoted.values():
            for where in places.values():
                assert (one.paper, one.dataset, where.table, where.method, where.setting) in printed

    def test_every_published_cost_exists(self, one):
        """But for BTCV in table IX, which prints those of MRBrainS18 alone."""
        for system in one.systems.values():
            for where in system.costs:
                found = [published(one, where, metric, structure="") for metric in PUBLISHED_COSTS]
                assert any(found) == ((one.dataset, where.table) != ("btcv", "IX"))

    def test_what_differs_from_the_paper_is_said(self, one):
        assert one.differs

    def test_every_row_and_fold_has_a_folder_of_its_own(self, one):
        for names in (one.systems, [fold.name for fold in one.folds]):
            assert len({slug(name) for name in names} - {""}) == len(names)

    def test_the_reference_is_a_row(self, one):
        assert one.reference in one.systems

    def test_a_study_has_the_cases_of_the_folds(self, one):
        if one.study is not None:
            names = {f"subject-{number:02d}" for number in range(1, len(one.study) + 1)}
            assert all({*fold.support, *fold.queries} <= names for fold in one.folds)


def test_what_does_not_exist_is_refused_with_what_there_is():
    with pytest.raises(SettingsError, match="brain-one-shot"):
        protocol("brain")
    one = protocol("brain-one-shot")
    with pytest.raises(SettingsError, match="without coordinates"):
        one.chosen(("nnunet",))
    with pytest.raises(SettingsError, match="1000"):
        one.fold("1001")


def test_a_method_of_the_catalogue_is_a_row_as_it_is():
    chosen = protocol("brain-shots").chosen(("unet", "mre-net"))
    assert list(chosen) == ["unet", "mre-net"]
    assert not chosen["unet"].settings


def test_a_pool_that_holds_queries_is_transductive():
    assert Fold("f", ("a",), ("b",), ("b", "c")).transductive
    assert not Fold("f", ("a",), ("b",), ("c",)).transductive


@pytest.mark.parametrize(
    ("protocol", "row", "asked", "preset"),
    [
        ("btcv-one-shot", "mre-net", "paper", "paper-btcv"),
        ("btcv-one-shot", "mre-net", "compact", "compact"),
        ("btcv-one-shot", "ants SyN", "paper", "paper"),
        ("busi-images", "mre-net", "paper", "paper-ultrasound"),
        ("breast-ultrasound", "mre-net", "compact", "compact-ultrasound"),
        ("synapse-one-slice", "elnet", "paper", "paper-synapse"),
        ("gcn-de-five-folds-ct", "gcn-de", "paper", "paper-synapse"),
        ("gcn-de-five-folds", "gcn-de", "paper", "paper"),
        ("candi-one-atlas", "voxelmorph", "paper", "paper-ablation"),
        ("candi-one-atlas", "voxelmorph", "compact", "compact"),
        ("candi-one-atlas", "lt-net", "paper", "paper"),
        ("cardiac-one-slice", "elnet beyond the paper", "compact", "compact-taught"),
    ],
)
def test_a_row_gets_the_form_of_a_preset_that_its_images_need(protocol, row, asked, preset):
    chosen = PROTOCOLS[protocol]
    assert chosen.preset_of(chosen.systems[row], asked) == preset
