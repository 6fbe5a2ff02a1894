"""Searches for recurrent cells: two texts, two states, and all that searches for convolutional cells can do."""

import keras
import numpy as np
import pytest

from keras_struct.applications import darts_language_supernet
from keras_struct.datasets import TextBatches
from keras_struct.search import ConstantSchedule, Darts, DartsPrime, PairedText, RecurrentGenotype
from keras_struct.search.alternating import AlternatingModel

ops = keras.ops
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
TEXT = np.cumsum(np.random.default_rng(5).choice([1, 1, 1, 2], 1600)) % 5
SIZE = 16
QUIET = {"dropout": 0.0, "recurrent_dropout": 0.0, "input_dropout": 0.0, "embedding_dropout": 0.0}


def supernet(batch_size=SIZE, **options):
    keras.utils.set_random_seed(0)
    return darts_language_supernet(5, 8, nodes=2, batch_size=batch_size, **{**QUIET, **options})


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def test_pieces_of_both_texts_lie_one_above_the_other_and_the_second_begins_anew():
    pieces = PairedText(np.arange(80), np.arange(100, 128), batch_size=2, length=5)
    assert len(pieces) == 7
    found = [pieces[i] for i in range(7)]
    assert all(x.shape == (4, 5) for x, _ in found)
    assert all((y == x + 1).all() for x, y in found)
    np.testing.assert_array_equal(np.concatenate([x[:2] for x, _ in found], 1)[0], np.arange(35))
    # Strands of 14 words hold two pieces and what is predicted last; then places are counted on modulo 9.
    assert [int(x[2, 0]) for x, _ in found] == [100, 105, 101, 106, 102, 107, 103]
    with pytest.raises(ValueError, match="A text of 8 words"):
        PairedText(np.arange(80), np.arange(8), batch_size=2, length=5)


@pytest.mark.usefixtures("eager")
def test_each_of_the_texts_has_a_state_of_its_own():
    model = supernet()
    model.compile("sgd", LOSS)
    weights = model.get_layer("alpha_recurrent")
    trained = AlternatingModel(model, [weights.alpha], keras.optimizers.SGD(0.0), schedule=ConstantSchedule(2))
    trained.compile(keras.optimizers.SGD(0.0), LOSS, jit_compile=False)
    pieces = PairedText(TEXT, TEXT[::-1], SIZE, 2)
    alone = [supernet(), supernet()]
    for other in alone:
        other.set_weights(model.get_weights())
    for i in range(4):
        trained.train_on_batch(*pieces[i])
        alone[0](pieces[i][0][:SIZE], training=True)
        if i % 2:  # the architecture moves after every second step only
            alone[1](pieces[i][0][SIZE:], training=True)
    for found, other in zip((trained._states, trained._other_states), alone, strict=True):
        expected = numbers(other.get_layer("rnn").rnn.states[0])
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(numbers(found[0]), expected, rtol=1e-3, atol=1e-5)
    trained.reset_states()
    assert not np.abs(numbers(trained._states[0])).any() | np.abs(numbers(trained._other_states[0])).any()


def test_a_search_learns_a_text_and_ends_in_a_genotype():
    model = supernet(operations=["tanh", "sigmoid"])  # states that are bounded, whatever the statistics of training are
    found = DartsPrime(model, LOSS, optimizer=keras.optimizers.SGD(3.0), ratio=3)
    assert found.recurrent
    assert found.penalty.strength == 1.0
    history = found.fit(
        PairedText(TEXT, TEXT, SIZE, 6, seed=1), epochs=5, validation_data=TextBatches(TEXT, SIZE, 6), verbose=0
    ).history
    assert history["loss"][-1] < 0.8 < 1.2 < history["loss"][0], "of log 5 = 1.61, 0.56 is chance"
    assert history["val_loss"][-1] < 0.9, "statistics of training serve for inference"
    assert found.record.validation == history["val_loss"]
    genotype = found.genotype()
    assert isinstance(genotype, RecurrentGenotype)
    assert RecurrentGenotype.parse(str(genotype)) == genotype
    assert len(genotype.recurrent) == 2
    assert tuple(genotype.concat) == (1, 2), "the mean of all states but that of the input"
    best = int(np.argmin(history["val_loss"])) + 1
    found.record.genes[best]["alpha_recurrent"] = [("tanh", 0), ("relu", 1)]
    assert found.genotype("best").recurrent == (("tanh", 0), ("relu", 1))
    found.record.validation = [float("nan") if i != best - 1 else 9.0 for i in range(5)]
    assert found.genotype("best").recurrent == (("tanh", 0), ("relu", 1)), "what is no number is not the best"
    model.choose()
    assert model.get_layer("rnn").genes == genotype.recurrent


def test_settings_are_those_of_the_paper():
    found = Darts(darts_language_supernet(5, 4, nodes=1), LOSS)
    assert float(found.trained.optimizer.learning_rate) == 20.0
    assert not found.anneals
    assert float(found.trained.architecture_optimizer.learning_rate) == pytest.approx(3e-3)
    assert (found.trained.clip_norm, found.trained.weight_decay) == (0.25, 5e-7)
    assert found.trained.architecture_decay == 1e-3


@pytest.mark.usefixtures("eager")
def test_clipped_weights_are_pruned_in_recurrent_cells_too():
    model = supernet(activation="crb")
    found = Darts(model, LOSS, keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.1), schedule=ConstantSchedule(1))
    found.fit(PairedText(TEXT[:144], TEXT[:144], SIZE, 2), epochs=2, verbose=0)
    mask = numbers(model.get_layer("alpha_recurrent").mask)
    assert 2 <= mask.sum() < mask.size
    assert mask[:1].any()
    assert mask[1:].any(), "no node loses all that it reads"
    assert not numbers(model.get_layer("alpha_recurrent").activated())[mask == 0].any()


@pytest.mark.slow
def test_a_killed_search_on_text_goes_on_as_it_would_have(tmp_path):
    def made():
        return DartsPrime(supernet(), LOSS, optimizer=keras.optimizers.SGD(0.5), ratio=1, seed=3)

    def pieces():
        return PairedText(TEXT, TEXT, SIZE, 10, vary=True, seed=3)

    whole = made()
    whole.fit(pieces(), epochs=4, verbose=0)

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made().fit(pieces(), epochs=4, verbose=0, callbacks=[Kill()], backup=tmp_path)
    resumed = made()
    resumed.fit(pieces(), epochs=4, verbose=0, backup=tmp_path)
    assert resumed.record.architecture_steps == whole.record.architecture_steps
    assert float(resumed.trained.optimizer.learning_rate) == pytest.approx(0.5)
    for a, b in zip(whole.model.trainable_weights, resumed.model.trainable_weights, strict=True):
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Darts(supernet(), LOSS, second_order=True), "carry states would go on each time"),
        (
            lambda: Darts(supernet(), LOSS).fit(TextBatches(TEXT, 4, 6)),
            "PairedText. Received: x=TextBatches, y=NoneType",
        ),
        (lambda: Darts(supernet(), LOSS).fit(TEXT), "PairedText. Received: x=ndarray, y=NoneType"),
        (lambda: Darts(supernet(), LOSS).genotype("last"), "'final' or 'best'"),
        (lambda: Darts(supernet(), LOSS).genotype("best"), "smallest loss on `validation_data`"),
    ],
)
def test_searches_that_cannot_be_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
