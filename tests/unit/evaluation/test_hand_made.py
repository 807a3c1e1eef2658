"""Figures that can be checked on paper. The rankings are those in hand_made.py's docstring."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from support.hand_made_collection import Angles, five_images

from evaluation import measures
from evaluation.ranking import STEPS
from evaluation.run import evaluate

# Each query's results: a1 +-+-, a2 +-+-, a3 --++, b1 ---+, b2 -+--.
BY_HAND = {
    # right among the first k, over k
    "precision@1": (1 + 1 + 0 + 0 + 0) / 5,
    "precision@5": (2 / 5 + 2 / 5 + 2 / 5 + 1 / 5 + 1 / 5) / 5,
    "precision@10": (2 / 10 + 2 / 10 + 2 / 10 + 1 / 10 + 1 / 10) / 5,
    # right among the first k, over how many there are to find
    "recall@1": (1 / 2 + 1 / 2 + 0 + 0 + 0) / 5,
    "recall@5": 1.0,
    "recall@10": 1.0,
    "recall@100": 1.0,
    # precision at each right answer, averaged over those that there are to find
    "mAP": ((1 / 1 + 2 / 3) / 2 + (1 / 1 + 2 / 3) / 2 + (1 / 3 + 2 / 4) / 2 + 1 / 4 + 1 / 2) / 5,
    # one over the rank of the first right answer
    "MRR": (1 + 1 + 1 / 3 + 1 / 4 + 1 / 2) / 5,
    # each right answer at rank r counts 1 / log2(r + 1); over the sum of the best order
    "nDCG@10": (
        2 * (1 / log2(2) + 1 / log2(4)) / (1 / log2(2) + 1 / log2(3))
        + (1 / log2(4) + 1 / log2(5)) / (1 / log2(2) + 1 / log2(3))
        + 1 / log2(5)
        + 1 / log2(3)
    )
    / 5,
}


def test_the_figures_of_five_images_are_those_worked_out_by_hand():
    (result,) = evaluate(five_images(), [Angles()], ["label"]).data["results"]
    found = {name: figure["value"] for name, figure in result["metrics"].items()}
    assert found == pytest.approx(BY_HAND, abs=1e-6)


def test_the_mean_average_precision_of_the_five_is_34_sixtieths():
    # 10/12 + 10/12 + 5/12 + 3/12 + 6/12 = 34/12, a fifth of which is 34/60
    (result,) = evaluate(five_images(), [Angles()], ["label"]).data["results"]
    assert result["metrics"]["mAP"]["value"] == pytest.approx(34 / 60, abs=1e-6)


def pairs(*similarities: float) -> np.ndarray:
    counts = np.zeros(2 * STEPS + 1, np.int64)
    np.add.at(counts, np.rint(np.array(similarities) * STEPS).astype(int) + STEPS, 1)
    return counts


def test_the_figures_over_all_pairs_are_those_worked_out_by_hand():
    # Best first: 0.9 +, 0.8 -, 0.7 +, 0.6 -, 0.5 +. Precision at the right ones: 1/1, 2/3, 3/5.
    found = measures.over_pairs(pairs(0.9, 0.7, 0.5), pairs(0.8, 0.6))
    assert found["µAP"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    # 90% precision is only had by taking the first alone: one of three.
    assert found["recall at 90% precision"] == pytest.approx(1 / 3)


def test_a_pair_that_ties_with_a_wrong_one_is_not_counted_before_it():
    # 0.9 holds a right and a wrong pair: precision 1/2 for the right one; then 2/3.
    assert measures.over_pairs(pairs(0.9, 0.7), pairs(0.9))["µAP"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_the_threshold_suggested_is_the_one_of_the_highest_f1():
    # F1 = 2 right / (taken + 3): 0.9: 2/4, 0.8: 2/5, 0.7: 4/6, 0.6: 4/7, 0.5: 6/8.
    assert measures.best_threshold(pairs(0.9, 0.7, 0.5), pairs(0.8, 0.6)) == 0.5
    # With three more wrong ones above 0.5 that would be 6/11, and 0.7 is best.
    assert measures.best_threshold(pairs(0.9, 0.7, 0.5), pairs(0.8, 0.6, 0.55, 0.54, 0.53)) == 0.7
