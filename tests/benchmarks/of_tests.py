"""What benchmarks take of the packages that tests alone need; without them, one line says how to get them."""

import sys

try:
    import httpx
    import pytest  # which the helpers of tests import
    from fastapi.testclient import TestClient
except (ModuleNotFoundError, RuntimeError):  # the second of starlette, where its client lacks a package
    print("error: the packages of the tests are missing: pip install -r tests/requirements.txt", file=sys.stderr)
    sys.exit(2)

__all__ = ["TestClient", "httpx", "pytest"]
