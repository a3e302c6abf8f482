"""Texts to token ids, by the `tokenizers` package alone where a model has a tokenizer.json: it starts in a tenth of transformers' time.

Networks trained from nothing read whole words.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.encoders.folders import quiet, read_json
from graft.errors import MissingError, ModelError

# Only the first `max_tokens` tokens count. Texts are cut to this many characters a token first, so that ten megabytes in one cell cost no more time
# and memory than a page: written language has 3 to 6 characters a token, so the cut is seen only in texts of words over 20 characters throughout.
CHARACTERS_PER_TOKEN = 20


class Tokeniser:
    """Token ids of texts, cut at `max_tokens` (special tokens included); safe to call from several threads.

    `lower` lower-cases first; `prefix` is set before every text.
    """

    def __init__(
        self, folder: Path, max_tokens: int, *, pad_id: int | None = None, lower: bool = False, prefix: str = ""
    ) -> None:
        self.max_tokens, self.lower, self.prefix = max_tokens, lower, prefix
        self._lock = threading.Lock()
        self._slow: Any = None
        self._fast = self._open(folder)
        padding = self._fast.padding if self._fast is not None else None
        if self._fast is not None:
            # The file may say to pad every text to a fixed length and to cut shorter than the model takes: both are ours to decide.
            self._fast.no_padding()
            self._fast.enable_truncation(max_tokens)
        self.pad_id = _pad_id(folder, self._fast, self._slow, padding, pad_id)

    def _open(self, folder: Path) -> Any:
        """A `tokenizers.Tokenizer`, or None after setting `_slow` to one of transformers' tokenizers written in Python."""
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            try:
                return Tokenizer.from_file(str(folder / "tokenizer.json"))
            except Exception as problem:  # the package raises plain Exception
                raise ModelError(f"{folder / 'tokenizer.json'} cannot be read: {problem}") from None
        from transformers import AutoTokenizer

        try:
            with quiet():
                slow = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except ImportError as problem:
            first = str(problem).strip().splitlines()[0]
            raise MissingError(f"The tokenizer of {folder} needs a package that is not installed: {first}") from None
        except Exception as problem:
            raise ModelError(
                f"The tokenizer of {folder} cannot be read: {str(problem).strip().splitlines()[0]}"
            ) from None
        if slow.is_fast:
            return slow.backend_tokenizer
        self._slow = slow
        return None

    def __call__(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """One array of ids (T,) a text, 1 <= T <= max_tokens."""
        limit = self.max_tokens * CHARACTERS_PER_TOKEN
        cut = [self.prefix + text.lstrip()[:limit] if len(text) > limit else self.prefix + text for text in texts]
        if self.lower:
            cut = [text.lower() for text in cut]
        if self._fast is not None:
            rows = [encoding.ids for encoding in self._fast.encode_batch_fast(cut)]
        else:
            with self._lock:
                rows = self._slow(cut, truncation=True, max_length=self.max_tokens)["input_ids"] if cut else []
        # A tokenizer without special tokens makes nothing of an empty text; one padding token keeps the batch well formed.
        return [np.asarray(row or [self.pad_id], np.int64) for row in rows]


PADDING, UNKNOWN = 0, 1  # ids of Words that are no word
_WORD = re.compile(r"\w+|[^\w\s]")
_LONGEST_WORD = 100


class Words:
    """Ids of the words and signs of texts, lower-cased, cut at `max_tokens`: by a list of words, or hashed into `size` ids where there is none.

    Id 0 pads and 1 stands for a word that is not in the list; an empty text is one unknown word.
    """

    def __init__(self, size: int, max_tokens: int, words: Sequence[str] | None) -> None:
        self.size, self.max_tokens = size, max_tokens
        listed = None if words is None else words[: size - UNKNOWN - 1]
        self.known = None if listed is None else {word: UNKNOWN + 1 + at for at, word in enumerate(listed)}

    def __call__(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """One array of ids (T,) a text, 1 <= T <= max_tokens."""
        return [np.asarray([self._id(word) for word in self._split(text)] or [UNKNOWN], np.int64) for text in texts]

    def _split(self, text: str) -> list[str]:
        return split_words(text[: self.max_tokens * CHARACTERS_PER_TOKEN])[: self.max_tokens]

    def _id(self, word: str) -> int:
        if self.known is not None:
            return self.known.get(word, UNKNOWN)
        return UNKNOWN + 1 + zlib.crc32(word.encode()) % (self.size - UNKNOWN - 1)


def split_words(text: str) -> list[str]:
    """Words and signs in order, lower-cased."""
    return [word[:_LONGEST_WORD] for word in _WORD.findall(text.lower())]


def frequent_words(texts: Iterable[str], size: int) -> list[str]:
    """The most frequent words of texts, so many that with the ids that are no words there are at most `size`; ties in order of the alphabet."""
    counts = Counter(word for text in texts for word in split_words(text))
    return sorted(counts, key=lambda word: (-counts[word], word))[: size - UNKNOWN - 1]


def _pad_id(folder: Path, fast: Any, slow: Any, padding: dict[str, Any] | None, fallback: int | None) -> int:
    """The id texts are padded with: as the tokenizer says, else as the model's configuration does, else 0."""
    if slow is not None:
        return int(slow.pad_token_id or 0)
    if padding:
        return int(padding["pad_id"])
    path = folder / "tokenizer_config.json"
    token = read_json(path).get("pad_token") if path.is_file() else None
    token = token.get("content") if isinstance(token, dict) else token
    known = fast.token_to_id(token) if isinstance(token, str) else None
    return int(known if known is not None else fallback or 0)


def pad(
    rows: Sequence[NDArray[Any]], pad_id: int, length: int | None = None, *, left: bool = False
) -> dict[str, NDArray[np.int64]]:
    """Rows of ids as `input_ids` and `attention_mask` (B, T), padded to the longest row or to `length`."""
    width = length or max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad_id, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for at, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[at, place], mask[at, place] = row, 1
    return {"input_ids": ids, "attention_mask": mask}
