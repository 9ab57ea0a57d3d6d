from collections import Counter
from dataclasses import replace

import pytest

from lowshot import catalogue
from lowshot.benchmarking.measures import MEASURES
from lowshot.fewshot.pairing import PairingOptions
from lowshot.protocols.few_shot import (
    APSCL_MODULES,
    GCN_DE_MODULES,
    MR,
    MR_HIDDEN,
    ORGANS,
    PHANTOM_CT,
    PHANTOM_MR,
)
from lowshot.protocols.published import published
from lowshot.protocols.registry import PROTOCOLS

REAL = (MR, MR_HIDDEN, GCN_DE_MODULES, APSCL_MODULES)
EVERY = (*REAL, PHANTOM_MR, PHANTOM_CT)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
class TestEvery:
    def test_it_can_be_asked_for(self, one):
        assert PROTOCOLS[one.name] is one

    def test_base_support_and_queries_are_of_different_scans(self, one):
        for fold in one.folds:
            times = Counter([*fold.base, *fold.support, *fold.queries])
            assert set(times.values()) == {1}
            assert len(fold.support) == 1
            assert len(fold.base) > 1
            assert fold.queries
            assert not fold.unlabelled

    def test_one_organ_is_new_in_each_fold_and_hidden_where_any_is(self, one):
        for fold in one.folds:
            assert fold.new in ORGANS
            assert fold.name.startswith(fold.new)
            assert not fold.hidden or fold.new in fold.hidden
            assert set(fold.hidden) < set(ORGANS)

    def test_every_method_is_in_the_catalogue(self, one):
        assert {system.method for system in one.systems.values()} <= catalogue.CATALOGUE.keys()

    def test_a_borrowed_model_is_that_of_the_same_row_in_a_granted_range(self, one):
        for name, system in one.systems.items():
            if system.model_of is None:
                continue
            owner = one.systems[system.model_of]
            assert name == f"{system.model_of} whole volume"
            assert (owner.model_of, owner.granted) == (None, True)
            whole = replace(owner, options={}, granted=False, published={}, model_of=system.model_of)
            assert system == whole

    def test_chunks_are_for_granted_ranges_alone_and_published_figures_too(self, one):
        for system in one.systems.values():
            assert (PairingOptions(**system.options).pairing == "chunks") == system.granted
            assert system.granted or not system.published

    def test_what_a_range_gives_away_is_said(self, one):
        assert any("granted range" in sentence for sentence in one.differs)
        assert any("setting " in sentence for sentence in one.differs)
        assert "volume_elsewhere" in one.measures


@pytest.mark.parametrize("one", REAL, ids=lambda one: one.name)
def test_each_organ_s_own_figure_is_printed_where_any_is(one):
    for system in one.systems.values():
        for where in system.published.values():
            for organ in ORGANS:
                assert any(published(one, where, metric, organ) for metric in MEASURES["dice"].printed_as)


def test_every_organ_is_new_in_either_half():
    assert Counter(fold.new for fold in MR.folds) == dict.fromkeys(ORGANS, 2)
    assert {frozenset(fold.base) for fold in MR.folds} == {
        frozenset({"mr01", "mr02", "mr03", "mr05", "mr08"}),
        frozenset({"mr10", "mr13", "mr15", "mr19", "mr20"}),
    }
    assert all(len(fold.queries) == 4 for fold in MR.folds)


def test_organs_are_hidden_together_with_their_group():
    hidden = {fold.new: set(fold.hidden) for fold in MR_HIDDEN.folds}
    assert hidden["liver"] == hidden["spleen"] == {"liver", "spleen"}
    assert hidden["left kidney"] == hidden["right kidney"] == {"left kidney", "right kidney"}
    assert not any(fold.hidden for fold in MR.folds)
