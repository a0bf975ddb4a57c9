"""Every test that README.md names must exist."""
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]


def test_every_test_that_the_page_names_exists():
    page = (HERE / "README.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page)) | set(re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", page))
    python = set(re.findall(r"^def (test_\w+)\(", "\n".join(path.read_text() for path in TESTS.rglob("test_*.py")), re.M))
    cpp = {f"{suite}.{name}" for folder in ("dataplane", "control") for path in (TESTS / folder).rglob("*_test.cc")
           for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", path.read_text(), re.M)}
    assert len(named) > 60
    assert sorted(named - python - cpp) == []
