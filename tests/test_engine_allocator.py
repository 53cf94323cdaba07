"""The C library's allocator is told once to use memory again, unless somebody has settled it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dandify.store.allocator import reuse_memory


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.parametrize(("variables", "expected"), [({}, True), ({"MALLOC_ARENA_MAX": "4"}, False)])
def test_the_allocator_is_left_alone_where_somebody_has_settled_it(variables: dict[str, str], expected: bool) -> None:
    if not reuse_memory():
        pytest.skip("another C library, or settled from outside")
    code = "from dandify.store.allocator import reuse_memory; print(reuse_memory())"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.stdout.strip() == str(expected), done.stderr
