"""The short network that tests of images share."""

import functools

import pytest


@pytest.fixture(scope="module")
def short_resnet():
    """The network "resnet18" with two blocks instead of eight, which compiles in less time."""
    from gossamer.vision.models import catalog

    entry = catalog.CATALOG["resnet18"]
    make = functools.partial(catalog.ResNet, blocks=(1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.CATALOG, "resnet18", entry._replace(make=make))
        yield
