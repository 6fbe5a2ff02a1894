"""What a strategy cannot work on is left out, with one warning; what is frozen stays."""

import warnings

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, StructuralTraining, sparsify
from keras_struct.schedules import Cubic, EveryNSteps
from keras_struct.selectors import Taylor
from keras_struct.strategies import Dyno, GradMax, Grow, NorthRandom, Prune, Sparsify
from keras_struct.triggers import EffectiveDimension, FractionOfWidth

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 4, 6)).astype("float32")
Y = X[:, 0, :1]
FLAT = X[:, 0]
HALF = Grow(FractionOfWidth(0.5), schedule=EveryNSteps(2), max_units=30)


def transformer():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 6))
    h = layers.Dense(6, name="stream")(inputs)
    a = layers.LayerNormalization()(h)
    h = layers.Add()([h, layers.MultiHeadAttention(2, 3, name="att")(a, a)])
    up = layers.Dense(8, activation="gelu", name="up")(layers.LayerNormalization()(h))
    h = layers.Add()([h, layers.Dense(6, name="down")(up)])
    head = layers.Dense(7, activation="tanh", name="head")(layers.GlobalAveragePooling1D()(h))
    return StructuralModel(inputs, layers.Dense(1)(head))


def chain(**frozen):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6,))
    for name in ("first", "second", "out"):
        x = layers.Dense(1 if name == "out" else 8, activation="tanh", name=name)(x)
    model = StructuralModel(inputs, x)
    for name in frozen:
        model.get_layer(name).trainable = False
    return model


def compiled(model, strategy, **options):
    model.compile("sgd", "mse", strategy=strategy, run_eagerly=True, **options)
    return model


def said(function):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function()
    return [str(warning.message) for warning in found]


def test_axes_inside_an_attention_and_under_a_normalisation_are_left_out_with_one_warning():
    model = transformer()
    strategy = NorthRandom(EffectiveDimension(gamma=0.5), max_units=12, schedule=EveryNSteps(4))
    messages = said(lambda: compiled(model, strategy).fit(X, Y, epochs=1, batch_size=16, verbose=0))
    (message,) = [m for m in messages if "leaves out" in m]
    for name in ("stream", "att/heads", "att/key_dim", "att/value_dim"):
        assert f"'{name}'" in message
    assert "normalises over its units" in message
    assert "'up'" not in message.split("(")[0]
    assert {event.axis for event in model.structure_log} == {"up", "head"}


def test_only_what_is_named_is_looked_at():
    model = transformer()
    strategy = NorthRandom(EffectiveDimension(gamma=0.5), max_units=12, schedule=EveryNSteps(4), axes=("up",))
    assert said(lambda: compiled(model, strategy).fit(X, Y, epochs=1, batch_size=16, verbose=0)) == []
    assert {event.axis for event in model.structure_log} == {"up"}


def test_nothing_left_is_an_error_that_says_why_and_what_to_do():
    with pytest.raises(ValueError, match=r"'stream' \(.*normalises over its units.*edit by\s+hand"):
        compiled(transformer(), Grow(FractionOfWidth(0.5), axes="stream"))


def test_pruning_does_not_need_the_function_kept():
    model = compiled(transformer(), Prune(FractionOfWidth(0.2), schedule=EveryNSteps(4), axes="stream"))
    model.fit(X, Y, epochs=1, batch_size=16, verbose=0)
    assert model.structure.axes["stream"] == 5


def test_a_selector_that_ranks_heads_prunes_them():
    strategy = Prune(FractionOfWidth(0.2), Taylor(), schedule=EveryNSteps(4), axes=("head", "att/heads"))
    model = transformer()
    compiled(model, strategy).fit(X, Y, epochs=1, batch_size=16, verbose=0)
    assert model.structure.axes["att/heads"] == 1


@pytest.mark.parametrize(
    ("frozen", "grown"),
    [(["first"], {"second"}), (["second"], {"first"} - {"first"}), (["out"], {"first"}), (["first", "second"], set())],
)
def test_units_that_would_never_learn_are_not_added(frozen, grown):
    model = chain(**dict.fromkeys(frozen))
    if not grown:
        with pytest.raises(ValueError, match="is not trainable"):
            compiled(model, HALF)
        return
    messages = said(lambda: compiled(model, HALF).fit(FLAT, Y, epochs=1, batch_size=16, verbose=0))
    assert len([m for m in messages if "leaves out" in m]) == 1
    assert {event.axis for event in model.structure_log} == grown


def test_layers_that_are_frozen_later_are_left_out_from_then_on():
    model = compiled(chain(), HALF)
    model.fit(FLAT, Y, epochs=1, batch_size=16, verbose=0)
    width = model.structure.axes["first"]
    model.get_layer("first").trainable = False
    with pytest.warns(UserWarning, match=r"leaves out 'first' \(layer 'first' is not trainable"):
        model.fit(FLAT, Y, epochs=1, batch_size=16, verbose=0)
    assert said(lambda: model.fit(FLAT, Y, epochs=1, batch_size=16, verbose=0)) == []
    assert model.structure.axes["first"] == width < model.structure.axes["second"]


def test_layers_of_a_frozen_nested_model_are_left_out():
    inner_in = keras.Input((6,))
    inner = keras.Model(inner_in, layers.Dense(8, activation="tanh", name="inside")(inner_in), name="inner")
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="tanh", name="free")(inner(inputs))
    model = StructuralModel(inputs, layers.Dense(1)(hidden))
    inner.trainable = False
    with pytest.warns(UserWarning, match="'inner/inside'"):
        compiled(model, HALF)
    model.fit(FLAT, Y, epochs=1, batch_size=16, verbose=0)
    assert {event.axis for event in model.structure_log} == {"free"}


def test_pruning_keeps_weights_of_frozen_layers_unless_they_are_named():
    for axes, pruned in ((None, set()), (("first", "second"), {"first", "second"})):
        model = chain(second=True)
        strategy = Prune(FractionOfWidth(0.25), schedule=EveryNSteps(4), axes=axes)
        if axes is None:
            with pytest.raises(ValueError, match="keeps its weights unless `axes` names it"):
                compiled(model, strategy)
        else:
            compiled(model, strategy).fit(FLAT, Y, epochs=1, batch_size=16, verbose=0)
        assert {event.axis for event in model.structure_log} == pruned


def test_connections_of_frozen_layers_stay_unless_they_are_named():
    for named in (None, ("first",)):
        model = sparsify(chain())
        model.get_layer("first").trainable = False
        before = model.connections["first"] if hasattr(model, "connections") else 48
        strategy = Sparsify(schedule=Cubic(0.5, 4, every=2), layers=named)
        messages = said(lambda m=model, s=strategy: compiled(m, s).fit(FLAT, Y, epochs=1, batch_size=16, verbose=0))
        assert any("'first' (it is not trainable" in m for m in messages) == (named is None)
        assert ("first" in {event.axis for event in model.structure_log}) == (named is not None), before


def test_growing_a_frozen_layer_by_hand_is_done_with_a_warning():
    for edit in (lambda m: m.grow("first", 2), lambda m: m.split("first", 0)):
        model = chain(first=True)
        with pytest.warns(UserWarning, match="Axis 'first' gets units though layer 'first' is not trainable"):
            edit(model)
        assert model.structure.axes["first"] > 8
        assert said(lambda m=model: m.prune("first", count=1)) == []


def test_a_model_that_was_frozen_before_it_was_saved_is_loaded_without_its_strategy(tmp_path):
    model = compiled(chain(), HALF)
    model.get_layer("first").trainable = model.get_layer("second").trainable = False
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="loaded without its strategy"):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(FLAT), model(FLAT))


def test_a_strategy_without_a_place_to_act_is_refused_by_the_callback_too():
    plain = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    plain.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match="relu1"):
        plain.fit(FLAT, Y, verbose=0, callbacks=[StructuralTraining(GradMax(), probe=FLAT, targets=Y)])


def test_dyno_adapts_what_is_trained_and_keeps_what_is_frozen():
    model = chain(first=True)
    with pytest.warns(UserWarning, match="leaves out 'first'"):
        compiled(model, Dyno(every=2, minimum=2))
