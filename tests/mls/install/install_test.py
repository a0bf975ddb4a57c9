"""Installs the MLS library into an empty folder and builds a program against it by pkg-config alone."""
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

BUILD = Path(os.environ["SLIPWAY_BUILD"])
CONSUMER = Path(__file__).with_name("consumer.cc")
MLS = Path(__file__).parents[3] / "mls"
EXAMPLE = MLS / "examples/two_members.cc"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--tags", "devel",
                    "--destdir", str(root)], check=True, stdout=subprocess.DEVNULL)
    (pc,) = root.rglob("slipway-mls.pc")
    return root, pc


def pkg_config(prefix, *arguments):
    root, pc = prefix
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(root))
    return subprocess.check_output(["pkg-config", *arguments, "slipway-mls"], env=env, text=True).split()


def build_and_run(prefix, source, tmp_path):
    program = tmp_path / source.stem
    sanitize = os.environ.get("SLIPWAY_SANITIZE")
    flags = [f"-fsanitize={sanitize}"] if sanitize else []
    # g++ would have a designated initializer name every field.
    warnings = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror"]
    subprocess.run(["c++", *warnings, *flags, str(source), "-o", str(program),
                    *pkg_config(prefix, "--cflags", "--libs", "--static")], check=True)
    return subprocess.check_output([str(program)], text=True)


def test_a_program_builds_and_runs_against_the_installed_library(prefix, tmp_path):
    output = build_and_run(prefix, CONSUMER, tmp_path).split()
    assert len(output) == 8
    assert output[1] == "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"
    assert output[-1] == "unsupported"


def test_the_example_builds_and_runs_against_the_installed_library(prefix, tmp_path):
    assert build_and_run(prefix, EXAMPLE, tmp_path) == "alice says: hello, bob\n"


def test_the_readme_shows_the_example():
    (shown,) = re.findall(r"```cpp\n(.*?)```", (MLS / "README.md").read_text(), re.DOTALL)
    (run,) = re.findall(r"// \[begin\]\n(.*?) *// \[end\]", EXAMPLE.read_text(), re.DOTALL)
    assert shown == textwrap.dedent(run)


def test_private_headers_stay_at_home(prefix):
    root, _ = prefix
    (top,) = root.rglob("slipway-mls/mls.h")
    installed = {str(path.relative_to(top.parent)) for path in top.parent.rglob("*.h")}
    assert "group/group.h" in installed
    for private in ("crypto/thread_contexts.h", "crypto/hmac.h", "key_schedule/content_pieces.h"):
        assert private not in installed
