"""What is left of a correlation with the length held: the words follow from both numbers."""

import pytest
from test_scoreboard import heard

from pruning_lab.report import answers, board, held, scoreboard, verdicts
from pruning_lab.report.told import every

RAW = [0.45, 0.5, 0.52, 0.48, 0.55]


def judged(length, raw=RAW):
    return verdicts.judge("FP4", {"LeNet fc1": raw, "LeNet fc1, length held": length})


def moved(by):
    return [value + by for value in RAW]


@pytest.mark.parametrize(
    "length, says",
    [
        (moved(-0.5), "LeNet fc1: +0.50, with the length held +0.00: the lengths of weight vectors carry it."),
        (moved(-0.7), "LeNet fc1: +0.50, with the length held -0.20: the lengths of weight vectors carry it."),
        (moved(-0.2), "LeNet fc1: +0.50, with the length held +0.30: the angle says something of its own."),
        ([], ""),
        (RAW[:2], ""),
    ],
)
def test_the_words_are_those_of_the_numbers(length, says):
    assert held.note(judged(length)) == says


def test_a_correlation_that_may_be_none_is_carried_by_nothing():
    assert held.note(judged(moved(-0.5), moved(-0.5))) == ""
    assert held.note(verdicts.judge("FP1", {"LeNet fc1": RAW})) == ""


def test_every_page_that_tells_the_claim_says_so():
    table = judged(moved(-0.5))
    board_, strip = board.table(table).data, answers.strip(table).data
    scores = scoreboard.board(heard(**{"01_frame_potential": table})).data
    for html in (board_, strip, scores):
        assert html.count("the lengths of weight vectors carry it.</span>") == 1
    assert len(every(heard(**{"01_frame_potential": table})))
