"""QR codes of links (ISO/IEC 18004), as SVG for print and as PNG for everything else."""

from __future__ import annotations

import io

import segno

MAX_LINK = 512  # characters; the code of a longer one is too fine for a phone to read from paper
QUIET_MODULES = 4  # the empty border that readers need
PNG_PIXELS = 1024  # at least, a side


def qr_svg(link: str) -> bytes:
    """The code as an SVG that fills what it is put into; black on white, whatever is behind."""
    file = io.BytesIO()
    _code(link).save(
        file, kind="svg", border=QUIET_MODULES, light="#fff", omitsize=True, title=f"QR code of {link}", xmldecl=False
    )
    return file.getvalue()


def qr_png(link: str) -> bytes:
    """The code as a PNG whose modules are whole pixels."""
    code = _code(link)
    file = io.BytesIO()
    scale = -(-PNG_PIXELS // code.symbol_size(border=QUIET_MODULES)[0])
    code.save(file, kind="png", border=QUIET_MODULES, scale=scale)
    return file.getvalue()


def _code(link: str) -> segno.QRCode:
    """15 % of the code may be dirty or torn, more where that costs no space."""
    return segno.make_qr(link, error="m", boost_error=True)
