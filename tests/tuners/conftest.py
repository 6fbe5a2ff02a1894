"""Smaller searches for the tests of tuners."""

import pytest

SOME = ("none", "max_pool_3x3", "skip_connect", "dil_conv_3x3")


@pytest.fixture
def few_operations():
    """Cells for images choose among four operations instead of eight: what is tested is not which there are."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("keras_struct.applications.darts.PRIMITIVES", SOME)
        yield
