"""The package as users get it: a wheel in a clean environment, used from somewhere else."""

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import trio

from tests.process.raw import PATIENCE_S

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent.parent
BUILD_TIMEOUT_S = 120.0
CLIENT = """
import sys, trio
from cluster.client import connect
async def main():
    async with connect(sys.argv[1]) as cache:
        await cache.set("key", {"from": "a wheel"})
        print(await cache.get("key"))
trio.run(main)
"""


def run(*command, cwd, **options):
    """Run to the end; what it printed. Its output is shown if it fails."""
    clean = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with nothing in it but the wheel and what it depends on.

    The dependencies are those of this environment, linked in by a path file, so that nothing has to
    be downloaded; the project's own checkout is not among them.
    """
    place = tmp_path_factory.mktemp("wheel")
    isolation = [] if importlib.util.find_spec("hatchling") is None else ["--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", *isolation, "--wheel-dir", place, ROOT, cwd=place)
    [wheel] = place.glob("hypercache_cluster-*.whl")
    venv.create(place / "venv", symlinks=True)
    python = place / "venv" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=place)
    [site] = (place / "venv" / "lib").glob("python*/site-packages")
    dependencies = Path(trio.__file__).parent.parent
    assert not list(dependencies.glob("cluster")), "the dependencies bring no copy of the project"
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return python


def test_the_command_knows_its_version(environment, tmp_path):
    command = environment.with_name("hypercache")
    version = run(command, "--version", cwd=tmp_path)
    assert version.startswith("hypercache ")
    assert run(environment, "-m", "cluster.node", "--version", cwd=tmp_path) == version


def test_the_installed_packages_are_typed_and_not_the_checkout(environment, tmp_path):
    code = "import cluster, actors; print(cluster.__file__); print(actors.__file__)"
    for line in run(environment, "-c", code, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(environment.parent.parent)
        assert Path(line).with_name("py.typed").exists()


async def test_a_node_of_the_wheel_serves_a_client_of_the_wheel(environment, tmp_path):
    clean = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    options = ["--bind", "127.0.0.1:0", "--http", "off", "--node-id", "n1"]
    node = await trio.lowlevel.open_process(
        [str(environment), "-m", "cluster.node", *options],
        cwd=tmp_path,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(2 * PATIENCE_S):
            printed = b""
            while b"ready" not in printed:
                printed += await node.stdout.receive_some()
            address = printed.split(b"ws=")[1].split()[0].decode()
            script = [str(environment), "-c", CLIENT, address]
            done = await trio.run_process(script, cwd=tmp_path, env=clean, capture_stdout=True)
            assert done.stdout == b"{'from': 'a wheel'}\n"
            cli = [str(environment.with_name("hypercache")), "get", "key", "--target", address]
            done = await trio.run_process(cli, cwd=tmp_path, env=clean, capture_stdout=True)
            assert b"a wheel" in done.stdout
            node.terminate()
            assert await node.wait() == 0
    finally:
        node.kill()
        await node.stdout.aclose()
