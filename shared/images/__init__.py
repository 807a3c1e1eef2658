"""Files to pictures: pure functions over Pillow, for untrusted bytes."""

from shared.images.colours import to_rgb
from shared.images.decoding import DECODER_VERSION, Decode, DecodedImage, decode
from shared.images.limits import check_bytes

__all__ = ["DECODER_VERSION", "Decode", "DecodedImage", "check_bytes", "decode", "to_rgb"]
