import pytest

pytest.register_assert_rewrite("tests.machine.lifecycle", "tests.machine.sites")
