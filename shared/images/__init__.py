"""Files to pictures: pure functions over Pillow, made for bytes that nobody vouches for."""

from shared.images.decoding import Decode, DecodedImage, decode, to_rgb
from shared.images.limits import check_bytes

__all__ = ["Decode", "DecodedImage", "check_bytes", "decode", "to_rgb"]
