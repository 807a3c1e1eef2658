"""Search follows every client's changes."""

from __future__ import annotations

from client_actions import Hand
from support.running_project import Running

from shared.testing import picture


def test_search_follows_each_client(project: Running, hand: Hand, folder: str):
    def found(text: str) -> list[str]:
        """The names that a search for a colour finds in this test's folder."""
        names = project.search(text=text, min_similarity=0.9, filter={"prefix": folder})
        return [name.removeprefix(f"images/{folder}") for name in names]

    hand.upload(f"{folder}a.png", picture("red"))
    project.eventually(lambda: found("red"), ["a.png"])

    hand.overwrite(f"{folder}a.png", picture("blue"))
    project.eventually(lambda: found("blue"), ["a.png"])
    assert found("red") == []

    hand.move(f"{folder}a.png", f"{folder}b.png")
    assert found("blue") == ["b.png"]

    hand.copy(f"{folder}b.png", f"{folder}c.png")
    project.eventually(lambda: sorted(found("blue")), ["b.png", "c.png"])

    hand.remove(f"{folder}b.png")
    assert found("blue") == ["c.png"]
