"""What stands in parentheses in the table is explained below it."""

from pipeline.inference.outputs import legend
from pipeline.serving.abstention import AMBIGUOUS, NO_CLASS, OUT_OF_DISTRIBUTION


def test_every_reason_to_abstain_is_explained():
    assert list(legend([])) == []
    told = list(legend([OUT_OF_DISTRIBUTION, AMBIGUOUS, NO_CLASS]))
    assert [line.partition(":")[0] for line in told] == [
        "(ambiguous)",
        "(no_class)",
        "(out_of_distribution)",
    ]
    assert not any("docs/" in line for line in told)
