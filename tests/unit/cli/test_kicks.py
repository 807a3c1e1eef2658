"""What doctor makes of a call of the database's to the function."""

from __future__ import annotations

import pytest

from cli.checks.kicks import Answer, judged
from shared.errors import DatabaseError

URL = "https://embed.test/health"


def test_a_function_that_says_what_fails_is_reached():
    assert judged(URL, (200, None, True)) == f"the database reaches {URL}"
    assert judged(URL, (503, None, True)).startswith(f"the database reaches {URL}, where something fails")


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (None, "worker_restart"),
        ((401, None, False), "Give both the same"),
        ((503, None, False), r"doesn't reach .* \(503\)\. Check that the function runs"),
        ((404, None, False), "install --embed-url URL` names another"),
        ((None, "Couldn't resolve host name", False), r"\(Couldn't resolve host name\)"),
    ],
)
def test_calls_that_dont_arrive_have_a_remedy(answer: Answer | None, remedy: str):
    with pytest.raises(DatabaseError, match=remedy):
        judged(URL, answer)
