from dataclasses import replace

from lowshot.evaluation.scores import CaseScores, Evaluation, Score
from lowshot.reporting.findings import FIRST, MOST_NAMES, findings


def score(case, structure, dice, hd95=1.0, **more):
    defaults = {"hd95_unit": "mm", "volume_prediction": 1.0, "volume_truth": 1.0, "volume_unit": "ml", "empty": "none"}
    return Score(case, structure, dice, hd95, **{**defaults, "missing": False, **more})


def case(name, liver, spleen, **more):
    return CaseScores(name, (score(name, "liver", liver, **more), score(name, "spleen", spleen, **more)))


GONE = {"missing": True, "empty": "prediction"}
STUDY = Evaluation((case("good", 0.9, 0.8), case("bad", 0.5, 0.2), case("gone", 0.0, 0.0, hd95=400.0, **GONE)), [])


def test_figures():
    """Means of 0.85, 0.35 and 0: 0.4. The missing prediction's distances are no distances."""
    assert findings(STUDY).figures == (
        ("scans", "3"), ("structures", "2"), ("mean Dice", "0.40 ± 0.43"), ("median HD95 where found, mm", "1.0"),
    )  # fmt: skip


def test_the_worst_prediction_is_named_first_and_why():
    first = findings(STUDY).look_first
    assert [each.case for each in first] == ["bad", "good"]
    assert first[0].why == "mean Dice 0.35; lowest: spleen 0.20, liver 0.50"


def test_only_a_few_are_named_first():
    many = Evaluation(tuple(case(str(k), 0.5, 0.5) for k in range(FIRST + 3)), [])
    assert len(findings(many).look_first) == FIRST


def test_best_and_worst_structure():
    assert "Best matched: liver (mean Dice 0.47). Least: spleen (0.33)." in findings(STUDY).sentences


def test_what_is_missing_or_failed_is_said_with_the_mean_without_it():
    failed = replace(STUDY, failed=("x.nii.gz: no such file",))
    warnings = findings(failed).warnings
    assert warnings[0] == "Not scored, and in no figure: x.nii.gz: no such file"
    assert warnings[1] == (
        "No prediction for 1 scan, each counting as Dice 0: gone. Over the other scans the mean Dice is 0.60."
    )
    assert len(warnings) == 2  # nothing of structures not found: there was no prediction


def test_structures_that_were_not_found_are_named():
    rows = (score("a", "liver", 0.0, empty="prediction"), score("a", "spleen", 0.0, empty="truth"))
    assert findings(Evaluation((CaseScores("a", rows),), [])).warnings == (
        "Not found at all, 1 time, each counting as Dice 0: liver in a.",
        "Predicted where the truth has none, 1 time, each counting as Dice 0: spleen in a.",
    )


def test_long_lists_are_cut():
    many = Evaluation(tuple(case(f"c{k}", 0.0, 0.0, **GONE) for k in range(MOST_NAMES + 5)), [])
    assert "c11 and 5 more." in findings(many).warnings[0]


def test_the_models_own_expectation():
    cases = [case(f"c{k}", 0.2 * k, 0.2 * k, expected_dice=0.2 * k + 0.1) for k in range(4)]
    sentences = " ".join(findings(Evaluation(tuple(cases), [])).sentences)
    assert "rank correlation 1.00 (8 pairs)" in sentences
    assert "Checking only the one of 4 scans that it expected least of would have found the worst." in sentences
    assert "0.10 too high on average" in sentences


def test_a_missing_prediction_of_nothing_is_not_said_to_count():
    nothing = case("nothing", float("nan"), float("nan"), missing=True, empty="both")
    found = findings(Evaluation((*STUDY.cases, nothing), [])).warnings
    assert found[0].startswith("No prediction for 1 scan, each counting as Dice 0: gone.")
    assert found[1] == "No prediction for 1 scan whose truth is empty, too, so that nothing of it counts: nothing."


def test_of_scans_that_tie_nothing_is_said_to_be_found():
    tied = Evaluation(tuple(case(str(k), 0.5, 0.5, expected_dice=0.1 * k) for k in range(5)), [])
    assert not any("Checking only" in sentence for sentence in findings(tied).sentences)
    assert any("too low on average" in sentence for sentence in findings(tied).sentences)
