"""The sample photographs as a collection that can be evaluated."""

from __future__ import annotations

import pytest

from evaluation.sources import samples
from shared.errors import CollectionError


def test_names_and_folders_are_captions_and_no_caption_is_of_both_halves():
    dev, test = samples.collection("dev"), samples.collection("test")
    captions = [{text for item in part.items for text in item.captions} for part in (dev, test)]
    assert not captions[0] & captions[1]
    assert {"windmill", "energy", "great pyramid of giza", "screw driver"} <= captions[0] | captions[1]
    assert all(min(len(found), 128 - len(found)) > 40 for found in captions)


def test_all_photographs_are_there_in_both_halves():
    dev, test = samples.collection("dev"), samples.collection("test")
    assert [item.key for item in dev.items] == [item.key for item in test.items]
    assert len(dev.items) == 201 and dev.labels == 6


def test_a_half_is_dev_or_test():
    with pytest.raises(CollectionError, match="no part 'all'"):
        samples.collection("all")
