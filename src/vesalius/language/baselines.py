"""What stands in for absent tokens, named in words: as a token, ids of a prompt, or ids of a background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.tokenization import SPECIAL_ROLES, TokenizedText, content_ids, special_id, token_id, token_text, vocabulary

DEFAULT_ROLES = ("pad", "mask", "unk", "eos")
"""Tokens that stand in for absent ones where nobody says which, the first that the tokenizer has."""
OTHER_WORDS = ("zero", "mean", "blur", "mean_embedding")
"""Words that mean the same without a tokenizer."""
ALONE = ("bos", "eos", "cls", "pad", "unk")
"""Tokens that stand for a text of which all tokens are left out, the first that the tokenizer has."""


@dataclass(frozen=True)
class Deleted:
    """Absent tokens are left out.

    Attributes:
        alone: token that stands where nothing is left, ``None`` for none.
    """

    alone: int | None = None


def text_baseline(baseline: Any, text: TokenizedText, tokenizer: Any, *, of_ids: bool) -> tuple[Any, str]:
    """A baseline as ids, where it is named in words; anything else as it is.

    Args:
        baseline: ``None``: the token for padding, else that for masking, unknown words or the end of a text; ``"pad"``, ``"mask"``, ...;
            a token by its string; another text of as many tokens, which is patched in; several texts, which are a background; a word of
            :data:`vesalius.games.absence.NAMED`.
        text: that is explained.
        tokenizer: of the model.
        of_ids: whether ids are explained, rather than embeddings.

    Returns:
        The baseline, and a few words for it where it was named in words.

    Raises:
        InvalidInput: no such token, or a text that does not fit.
    """
    if baseline is None:
        return _default(tokenizer, of_ids=of_ids)
    if isinstance(baseline, (list, tuple)) and baseline and all(isinstance(one, str) for one in baseline):
        return _background(baseline, text, tokenizer), f"average over {len(baseline)} background texts"
    if isinstance(baseline, str) and baseline == "delete":
        alone = next((found for role in ALONE if (found := special_id(tokenizer, role)) is not None), None)
        return Deleted(alone), "deleted" if alone is None else f"deleted ({token_text(tokenizer, alone)!r} where nothing is left)"
    if not isinstance(baseline, str) or baseline in OTHER_WORDS:
        return baseline, ""
    if baseline in SPECIAL_ROLES:
        found = special_id(tokenizer, baseline)
        if found is None and baseline in vocabulary(tokenizer):
            return token_id(baseline, tokenizer), f"token {baseline!r}"
        if found is None:
            raise InvalidInput(
                f"the tokenizer has no token for {baseline!r}; name a token by its string, or take 'delete', 'mean_embedding' (where"
                " embeddings are explained) or a background of texts"
            )
        return found, f"{baseline} token {token_text(tokenizer, found)!r}"
    return _token_or_prompt(baseline, text, tokenizer)


def _default(tokenizer: Any, *, of_ids: bool) -> tuple[Any, str]:
    for role in DEFAULT_ROLES:
        found = special_id(tokenizer, role)
        if found is not None:
            return found, f"{role} token {token_text(tokenizer, found)!r}"
    if of_ids:
        raise InvalidInput(
            "the tokenizer has no token for padding, masking, unknown words or the end of a text, so it must be said what stands in for"
            " absent tokens: baseline='delete', a token by its string, or a list of other texts"
        )
    return None, ""


def _token_or_prompt(baseline: str, text: TokenizedText, tokenizer: Any) -> tuple[Any, str]:
    try:
        found = token_id(baseline, tokenizer)
    except InvalidInput as error:
        ids = content_ids(baseline, tokenizer) if " " in baseline.strip() else ()
        if not ids:
            raise
        wanted = sum(not special for special in text.special)
        if len(ids) != wanted:
            raise InvalidInput(
                f"the baseline {baseline!r} is a text of {len(ids)} tokens, and the one that is explained has {wanted}; a text that is"
                " patched in has as many, a background of several texts may have any number"
            ) from error
        return _in_place(ids, text), f"the text {baseline!r}"
    return found, f"token {token_text(tokenizer, found)!r}"


def _in_place(ids: Sequence[int], text: TokenizedText) -> Tensor:
    """Ids in the places of a text's own, with its special tokens where they are."""
    rest = iter(ids)
    return torch.tensor([own if special else next(rest) for own, special in zip(text.ids, text.special, strict=True)])


def _background(texts: Sequence[str], text: TokenizedText, tokenizer: Any) -> Tensor:
    """Ids [M T] of other texts: longer ones are cut, shorter ones padded."""
    wanted, pad, rows = sum(not special for special in text.special), special_id(tokenizer, "pad"), []
    for other in texts:
        ids = content_ids(other, tokenizer) if other.strip() else ()
        if len(ids) < wanted and pad is None:
            raise InvalidInput(
                f"a text of the background has {len(ids)} tokens, fewer than the {wanted} that are explained, and the tokenizer has no"
                " token for padding; give longer texts"
            )
        rows.append(_in_place((*ids[:wanted], *([pad or 0] * (wanted - len(ids)))), text))
    return torch.stack(rows if len(rows) > 1 else rows * 2)
