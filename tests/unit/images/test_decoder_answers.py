"""A decoder's errors, as its parent raises them again."""

from __future__ import annotations

import pytest

from shared.errors import ImageError, kinds
from shared.images.sandbox import answers


@pytest.mark.parametrize("kind", list(kinds(ImageError)), ids=lambda kind: kind.__name__)
def test_every_error_of_an_image_gets_through(kind: type[ImageError]):
    header, body = answers.pack_error(kind("It is too wide.", value=[9, 1]))
    with pytest.raises(ImageError, match="It is too wide") as raised:
        answers.unpack(header, bytearray(body))
    assert (type(raised.value), raised.value.value) == (kind, [9, 1])
