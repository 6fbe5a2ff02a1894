"""What every test runs in: one thread a process, a limit of time, little garbage; and what examples in docstrings find."""

import functools
import gc
import os
import resource
import sys
import time
import typing

import pytest

# The networks of the tests are tiny: threads of TensorFlow, and of NumPy's linear algebra, would only wait for each other, and
# for those of the other process. Some wait busily: with little left of the processor, decompositions took ten times as long.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# The same kernels on every processor: by default TensorFlow takes others where it knows instructions for neural networks.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# Until Python 3.12 isinstance lists anew what a protocol asks for, and TensorFlow has protocols for every argument.
if sys.version_info < (3, 12):
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)  # noqa: SLF001

SECONDS = float(os.environ.get("TEST_SECONDS", "15"))
"""What a test without the marker `slow` may take. It is the processor that is asked, so other load does not count (much)."""


def _seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _within_the_limit(item, phase):
    start = _seconds()
    result = yield
    spent = _seconds() - start
    if spent > SECONDS and item.get_closest_marker("slow") is None:
        pytest.fail(
            f"{item.nodeid} took {spent:.1f} s of the processor in its {phase}, and a test may take {SECONDS:g}. Use a "
            "smaller network, less data or a fixture that several tests share; mark it `slow` only with a quick sample left.",
            pytrace=False,
        )
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    return (yield from _within_the_limit(item, "fixtures"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    return (yield from _within_the_limit(item, "call"))


def pytest_collection_finish(session):
    if "tensorflow" in sys.modules and not any(item.get_closest_marker("slow") for item in session.items):
        # Most graphs are run a few times: optimizing them takes longer. With slow tests they are what users have.
        sys.modules["tensorflow"].config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    gc.collect()
    gc.freeze()  # half a million objects of TensorFlow and Keras stay: no collection needs to look at them again


_tidied = [0.0]


@pytest.fixture(autouse=True, scope="module")
def _tidy():
    """Free what tests leave behind, after modules: models refer to themselves, TensorFlow keeps its kernels.

    A new seed would make it forget them, for the sake of those that draw numbers on their own. Keras hands seeds over as
    tensors, and half a millisecond to make a kernel, for each operation of each test, adds up. So it does for variables:
    TensorFlow makes a kernel for each name, which it would tell in messages about variables without a value.
    """
    tensorflow = sys.modules.get("tensorflow.python.eager.context")
    with pytest.MonkeyPatch.context() as patch:
        if tensorflow:
            patch.setattr(tensorflow.pywrap_tfe, "TFE_ContextClearCaches", lambda handle: None)
            variables = sys.modules["tensorflow.python.ops.gen_resource_variable_ops"]
            make = variables.var_handle_op
            patch.setattr(
                variables, "var_handle_op", lambda *args, **kwargs: make(*args, **kwargs | {"debug_name": ""})
            )
        yield
    if (now := time.process_time()) - _tidied[0] < 10:
        return  # it takes an eighth of a second, and many modules leave little
    _tidied[0] = now
    gc.collect()
    if tensorflow:
        tensorflow.context().clear_kernel_cache()


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
    from keras_struct import layers, strategies, triggers

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
    namespace |= {name: getattr(module, name) for module in (layers, strategies, triggers) for name in module.__all__}
    namespace |= {"keras": keras, "np": np, "x": x, "y": x.sum(axis=1, keepdims=True), "model": model}
    monkeypatch.chdir(tmp_path_factory.mktemp("example"))
