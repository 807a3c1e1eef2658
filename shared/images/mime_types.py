"""The types of documents, and their names in a filter."""

from __future__ import annotations

from collections.abc import Sequence

ANY = "image/*"
FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "ICO": "image/vnd.microsoft.icon",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}
RAW = (
    *("image/x-adobe-dng", "image/x-canon-cr2", "image/x-canon-cr3", "image/x-nikon-nef", "image/x-sony-arw"),
    *("image/x-pentax-pef", "image/x-samsung-srw", "image/x-olympus-orf", "image/x-panasonic-rw2"),
    *("image/x-fuji-raf", "image/x-sigma-x3f", "image/x-minolta-mrw", "image/x-raw"),
)
# A name -> the types that it means besides itself, if it is one: other names, and types rarely told apart.
ALSO = {
    "image/jpg": ("image/jpeg",),
    "image/pjpeg": ("image/jpeg",),
    "image/png": ("image/apng",),
    "image/apng": ("image/png",),
    "image/x-png": ("image/png",),
    "image/tif": ("image/tiff",),
    "image/x-ms-bmp": ("image/bmp",),
    "image/x-bmp": ("image/bmp",),
    "image/x-icon": ("image/vnd.microsoft.icon",),
    "image/heic": ("image/heif",),
    "image/heif": ("image/heic",),
}
KNOWN = (*FORMATS.values(), "image/apng", "image/heic", "image/heif-sequence", "image/heic-sequence", *RAW)


def meant(name: str) -> tuple[str, ...]:
    """The documents' types that a filter's word means; none for an unknown one."""
    name = name.strip().lower()
    own = (name,) if name in KNOWN else ()
    return (*own, *ALSO.get(name, ()))


def expanded(names: Sequence[str]) -> list[str]:
    """The documents' types that any of these words means; none where that is any type."""
    if ANY in names:
        return []
    return [*dict.fromkeys(one for name in names for one in meant(name))]
