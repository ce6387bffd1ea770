"""The same node and databases as the runtime's tests."""

from tests.runtime.conftest import stored as stored
