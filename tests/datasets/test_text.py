"""Texts become numbers, and numbers pieces that follow each other."""

import keras
import numpy as np
import pytest

from keras_struct import datasets

LINES = "the cat sat\nthe dog ran\n"


def spoken(text, numbers):
    return [text.vocabulary[i] for i in numbers]


def test_generated_sentences_are_true_and_the_same_each_time():
    text = datasets.load_text()
    whole = "".join(spoken(text, text.train))
    np.testing.assert_array_equal(datasets.load_text("sums").train, text.train)
    assert len(text.train) > 100_000
    assert min(len(text.valid), len(text.test)) > 5000
    words = {name: i for i, name in enumerate("zero one two three four five six seven eight nine ten".split())}
    checked = 0
    for line in whole.split("\n")[:-1]:
        first, _, second, _, total = line.rstrip(".").split(" ")
        if {first, second, total} <= set(words):
            assert words[first] + words[second] == words[total]
            checked += 1
    assert checked > 100


def test_penn_treebank_is_read_word_by_word(tmp_path):
    for part, content in {"train": LINES * 3, "valid": "the dog sat\n", "test": "the bird ran\n"}.items():
        (tmp_path / f"ptb.{part}.txt").write_text(content)
    text = datasets.load_text("ptb", tmp_path)
    assert spoken(text, text.train[:8]) == "the cat sat <eos> the dog ran <eos>".split()
    assert spoken(text, text.valid) == "the dog sat <eos>".split()
    assert spoken(text, text.test) == "the <unk> ran <eos>".split(), "words that are not trained on are unknown"
    assert spoken(text, text.numbers(["cat", "axolotl"])) == ["cat", "<unk>"]
    letters = datasets.load_text("ptb", tmp_path, level="character")
    assert "".join(spoken(letters, letters.test)) == "the bird ran\n"


def test_penn_treebank_is_downloaded_otherwise(tmp_path, monkeypatch):
    asked = []

    def fetched(name, origin):
        asked.append(origin)
        path = tmp_path / f"fetched-{name}"
        path.write_text(LINES)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", fetched)
    assert len(datasets.load_text("ptb").train) == 8
    assert [origin.rpartition("/")[2] for origin in asked] == ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]

    def broken(name, origin):
        raise OSError("no network")

    monkeypatch.setattr(keras.utils, "get_file", broken)
    with pytest.raises(ConnectionError, match=r"put 'ptb.train.txt' into a folder"):
        datasets.load_text("ptb", tmp_path / "nowhere")


def test_files_of_ones_own_are_divided(tmp_path):
    (tmp_path / "story.txt").write_text("abcdefghij" * 20, encoding="utf-8")
    for where in ((tmp_path / "story.txt",), ("story", tmp_path)):
        text = datasets.load_text(*where)
        assert (len(text.train), len(text.valid), len(text.test), len(text.vocabulary)) == (180, 10, 10, 10)
    assert text.name == "story"


def test_pieces_follow_each_other_in_every_strand():
    batches = datasets.TextBatches(np.arange(103), batch_size=4, length=6)
    assert len(batches) == 4
    for x, y in (batches[i] for i in range(4)):
        np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(
        np.concatenate([batches[i][0] for i in range(4)], 1), np.arange(100).reshape(4, 25)[:, :24]
    )


def test_lengths_vary_around_the_mean_in_another_order_each_epoch():
    batches = datasets.TextBatches(np.arange(40_000), batch_size=2, length=35, vary=True, seed=1)
    lengths = batches.lengths()
    assert 32 < np.median(lengths) < 38
    assert 5 <= lengths.min() <= lengths.max() <= 55
    assert 0.005 < np.mean(lengths < 22) < 0.15, "one in twenty is half as long"
    for seed in range(30):
        first, second = datasets.TextBatches(np.arange(900), 2, 10, vary=True, seed=seed).lengths()[:2]
        assert first != second, "Keras finds out from two batches that lengths vary"
    whole = np.concatenate([batches[i][0] for i in range(len(batches))], 1)
    np.testing.assert_array_equal(whole[0], np.arange(lengths.sum()))
    batches.on_epoch_end()
    assert not np.array_equal(batches.lengths(), lengths)
    np.testing.assert_array_equal(np.sort(batches.lengths()), np.sort(lengths))


@pytest.mark.parametrize(
    ("make", "error", "expected"),
    [
        (lambda path: datasets.load_text(path / "none.txt"), FileNotFoundError, "There is no text file"),
        (lambda path: datasets.load_text("sums", level="line"), ValueError, "'word' or 'character'"),
        (lambda path: datasets.load_text(written(path, b"")), ValueError, "to train on"),
        (lambda path: datasets.load_text(written(path, b"\xff\xfe\xff" * 9)), ValueError, "no text in UTF-8"),
        (lambda path: datasets.TextBatches(np.arange(20), 4, 5), ValueError, "5 words in each: expected more than 5"),
        (lambda path: datasets.load_text("sums").numbers("&"), ValueError, r"has no \['&'\]"),
    ],
)
def test_what_is_no_text_is_refused(make, error, expected, tmp_path):
    with pytest.raises(error, match=expected):
        make(tmp_path)


def written(path, content):
    (path / "file.txt").write_bytes(content)
    return path / "file.txt"
