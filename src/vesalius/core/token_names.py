"""What the names of tokens in a vocabulary stand for: marks of spaces, bytes written as characters, pieces that go on with a word."""

from __future__ import annotations

from collections.abc import Mapping

MARKS = (("\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}", " "), ("\N{LOWER ONE EIGHTH BLOCK}", " "), ("</w>", " "))
"""What tokenizers write for a space."""
PLAIN_BYTES = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
BYTE_OF: Mapping[str, int] = {
    **{chr(byte): byte for byte in PLAIN_BYTES},
    **{chr(0x100 + place): byte for place, byte in enumerate(sorted(set(range(0x100)) - set(PLAIN_BYTES)))},
}
"""The byte that each character of a byte-level token is."""
BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no character."""
CONTINUES = "##"
"""How a word piece begins that goes on with a word."""


def name_without_text(name: str) -> str:
    """What a token is called that has no characters of its own: a space for the mark of one, its bytes for the rest of a character whose
    first bytes are another token."""
    shown = name
    for mark, text in MARKS:
        shown = shown.replace(mark, text)
    if shown.strip() and not name.isascii() and all(one in BYTE_OF for one in name):
        return "".join(f"<0x{BYTE_OF[one]:02X}>" for one in name)
    return shown
