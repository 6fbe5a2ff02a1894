"""What the examples in docstrings find: a little data, a compiled model, and the names a user would have imported."""

import pytest


@pytest.fixture(autouse=True)
def _examples(request, monkeypatch, tmp_path_factory):
    if type(request.node).__name__ != "DoctestItem":
        return
    namespace = request.getfixturevalue("doctest_namespace")
    if "keras_struct.structure" in request.node.name or "keras_struct.statistics" in request.node.name:
        import numpy as np

        namespace["np"] = np
        return
    import keras
    import numpy as np

    import keras_struct
    from keras_struct import layers, strategies

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
    model = keras_struct.StructuralModel(
        [
            keras.Input((4,)),
            layers.GrowableDense(8, activation="relu", name="hidden"),
            keras.layers.Dense(1, name="out"),
        ]
    )
    model.compile("adam", "mse")
    namespace |= {name: getattr(keras_struct, name) for name in keras_struct.__all__}
    namespace |= {name: getattr(module, name) for module in (layers, strategies) for name in module.__all__}
    namespace |= {"keras": keras, "np": np, "x": x, "y": x.sum(axis=1, keepdims=True), "model": model}
    monkeypatch.chdir(tmp_path_factory.mktemp("example"))
