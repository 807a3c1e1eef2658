"""A file's format, by its first bytes: those decoded, and others, so that refusals can name them."""

from __future__ import annotations

from shared.errors import NotAnImage
from shared.images import isobmff

DECODED = "JPEG, PNG, WebP, GIF, TIFF, BMP, ICO, AVIF or HEIC image, or a camera's raw file"

RAW = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
# Signature -> format, the first that fits decides.
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\1\0", "ICO"),
    *((start, "TIFF") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((start, "RAW") for start in RAW),
)
# Signature -> the name of a format that isn't decoded.
OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document (EPS)"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"DDS ", "a DDS texture"),
    (b"qoif", "a QOI image"),
    (b"FLIF", "a FLIF image"),
    (b"BPG\xfb", "a BPG image"),
    (b"gimp xcf", "a GIMP document (XCF)"),
    (b"icns", "an Apple icon (ICNS)"),
    (b"\0\0\2\0", "a cursor (CUR)"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (b"AT&TFORM", "a DjVu document"),
    (b"SIMPLE  =", "a FITS image"),
    (b"II\x1a\0\0\0HEAPCCDR", "a Canon CRW raw file"),
    (b"\x0a\x05\x01", "a PCX image"),
    (b"\x01\xda", "an SGI image"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    *((b"P%d" % kind, "a PNM image") for kind in range(1, 8)),
)
HEAD = 1024  # bytes searched for the kind of a text


def identify(data: bytes) -> str:
    """The name of the file's format; NotAnImage, naming a format that isn't decoded where it is known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and (kind := isobmff.kind(data)):
        return kind
    for signature, name in SIGNATURES:
        if data.startswith(signature):
            return name
    if other := _other(data):
        raise NotAnImage(f"The file is {other}, which isn't read. Upload a {DECODED}.")
    raise NotAnImage()


def _other(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        is_small = data[8:12] == b"mif3"
        return "an AVIF or HEIF in its low-overhead form" if is_small else "a video or audio file (MP4)"
    if data[-18:-2] == b"TRUEVISION-XFILE":
        return "a Targa image (TGA)"
    for signature, name in OTHERS:
        if data.startswith(signature):
            return name
    text = data[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not text.startswith(b"<"):
        return None
    return "an SVG drawing" if b"<svg" in text else "an HTML or XML document"
