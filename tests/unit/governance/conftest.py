from __future__ import annotations

import os

import msgspec
import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform


@pytest.fixture
def call(house):
    """Call an operation as somebody; the caller owns the home unless ``uid`` says otherwise."""

    def as_somebody(who, name, /, *, tenant="default", uid=None, reason="", dry_run=False, **request):
        uid = os.getuid() if uid is None else uid
        caller = Caller(who, uid, tenant, reason=reason, cwd=str(house.home.data))
        return perform(house, name, msgspec.convert(request, find(name).request), caller, Wish(dry_run=dry_run))

    return as_somebody
