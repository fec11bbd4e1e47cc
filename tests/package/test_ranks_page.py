"""What docs/ranks.md shows works: its programs and commands run with ranks, as they stand there.

Blocks of `sh` are run, one after the other in one folder, and `python` blocks, whose first line is
the name of their file. Scripts for Slurm are read by bash, manifests are compared with the names of
the MPI operator's fields, and what needs PyTorch runs where it is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from built_package import ROOT
from rank_runs import BESIDE, PACKAGE, check_mpiexec, torch_world

PAGE = (ROOT / "docs" / "ranks.md").read_text(encoding="utf-8")
LONGEST = 240.0  # seconds after which a program is ended


class Block(NamedTuple):
    """What stands between two fences: its kind, what more the first fence says, and the text."""

    kind: str
    more: str
    text: str

    @property
    def name(self) -> str:
        """Of a program's file."""
        return self.text.splitlines()[0].removeprefix("# ")


BLOCKS = [
    Block(*found)
    for found in re.findall(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
PROGRAMS = [block for block in BLOCKS if block.kind == "python"]
STARTED = {name for block in BLOCKS if block.kind == "sh" for name in block.text.split()}
STARTED.add("leaves.py")  # by a test of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With all programs of the page."""
    made = tmp_path_factory.mktemp("ranks")
    for block in PROGRAMS:
        (made / block.name).write_text(block.text, encoding="utf-8")
    return made


def ran(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """A command in a shell that finds what this environment has installed first."""
    path = os.pathsep.join([str(BESIDE), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(PACKAGE), "COLUMNS": "100"}
    return subprocess.run(
        ["sh", "-e", "-c", command],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def test_there_is_something_of_every_kind():
    assert {block.kind for block in BLOCKS} >= {"python", "sh", "bash", "yaml", "dockerfile"}
    assert all(re.fullmatch(r"\w+\.py", block.name) for block in PROGRAMS)


def test_commands_end_well_and_runs_go_on_to_the_bits_of_one(folder):
    """All of them in order: the page's runs are begun, go on with other numbers of ranks, and have
    then the parameters of one process that was never interrupted.
    """
    check_mpiexec()
    said = []
    for block in BLOCKS:
        if block.kind == "sh":
            done = ran(block.text, folder)
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"
            said += re.findall(r"^parameters \w+$", done.stdout, re.MULTILINE)
    alone = folder / "alone"
    alone.mkdir()
    shutil.copy(folder / "train.py", alone)
    done = ran("python train.py 5", alone)
    assert said[-1] in done.stdout.splitlines(), done.stderr
    assert len(set(said)) == len(said) == 3
    assert (folder / "runs" / "laptop" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "program", [block.name for block in PROGRAMS if not block.more and block.name not in STARTED]
)
def test_programs_run_with_two_ranks(program, folder):
    check_mpiexec()
    done = ran(f"mpiexec -n 2 python {program}", folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_leaves_are_as_many_as_the_page_says(folder):
    done = ran("python leaves.py", folder)
    found = dict(re.findall(r"a batch of ([\d,]+) has (\d+) leaves", done.stdout))
    text = re.search(r"of 2-64-3, (.*?)\. On a GPU", PAGE, re.DOTALL)[1]
    said = dict(re.findall(r"([\d,]+)\s+(?:samples\s+)?have\s+(\d+)", text))
    assert found == said != {}


def test_what_launchers_do_wrong_is_refused_in_these_words(folder):
    check_mpiexec()
    done = ran("nnfs-gpu train --distributed", folder, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="4")
    assert done.returncode == 2
    shown = next(block.text for block in BLOCKS if block.kind == "text")
    assert _without_version(done.stderr) == _without_version(shown)


def _without_version(text: str) -> str:
    return re.sub(r"and MPI \([^)]*\)", "and MPI", text)


# ---- other connections ----
def test_the_world_of_pytorch_is_that_of_the_docstring():
    block = next(block for block in PROGRAMS if block.more == "torch")
    assert torch_world() in block.text


def test_the_world_of_pytorch_trains(folder):
    pytest.importorskip("torch")
    command = f"{sys.executable} -m torch.distributed.run --nproc-per-node 2 world.py"
    done = ran(command, folder)
    assert done.returncode == 0, done.stderr


# ---- clusters ----
@pytest.mark.parametrize("text", [block.text for block in BLOCKS if block.kind == "bash"])
def test_scripts_are_whole(text):
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


SPEC = "spec.mpiReplicaSpecs.{}.{}"
CONTAINER = {"name", "image", "command", "resources", "resources.limits"}
CONTAINER |= {"resources.limits.cpu", "resources.limits.memory"}
FIELDS = {  # of kubeflow.org/v2beta1, as types.go has them, and of a pod
    *("apiVersion", "kind", "metadata", "metadata.name", "spec", "spec.mpiImplementation"),
    *("spec.slotsPerWorker", "spec.launcherCreationPolicy"),
    *("spec.runPolicy", "spec.runPolicy.cleanPodPolicy", "spec.runPolicy.backoffLimit"),
    *("spec.mpiReplicaSpecs", "spec.mpiReplicaSpecs.Launcher", "spec.mpiReplicaSpecs.Worker"),
    *(SPEC.format("Launcher", name) for name in ("replicas", "restartPolicy", "template")),
    *(SPEC.format("Worker", name) for name in ("replicas", "template")),
    *(SPEC.format(kind, "template.spec") for kind in ("Launcher", "Worker")),
    *(SPEC.format(kind, "template.spec.containers") for kind in ("Launcher", "Worker")),
    *(
        SPEC.format(kind, f"template.spec.containers.{name}")
        for kind in ("Launcher", "Worker")
        for name in CONTAINER
    ),
    *(
        SPEC.format("Worker", f"template.spec.{name}")
        for name in (
            *("containers.readinessProbe", "containers.readinessProbe.tcpSocket"),
            *("containers.readinessProbe.tcpSocket.port",),
            *("containers.readinessProbe.initialDelaySeconds", "containers.volumeMounts"),
            *("containers.volumeMounts.name", "containers.volumeMounts.mountPath", "volumes"),
            *("volumes.name", "volumes.persistentVolumeClaim"),
            *("volumes.persistentVolumeClaim.claimName",),
        )
    ),
}


def fields(manifest: str) -> list[str]:
    """The path of every field: a name stands below the last one that is further to the left."""
    found, above = [], []
    for line in manifest.splitlines():
        indent = len(line) - len(line.lstrip(" -"))
        name = re.fullmatch(r"[ -]*([A-Za-z]+):( .*)?", line)
        if name is None:
            assert re.fullmatch(r" +- \S.*", line), line  # an item of a list of texts
            continue
        above = [one for one in above if one[0] < indent] + [(indent, name[1])]
        found.append(".".join(one for _, one in above))
    return found


def test_the_manifest_has_the_operators_fields():
    manifest = next(block.text for block in BLOCKS if block.kind == "yaml")
    assert set(fields(manifest)) == FIELDS
    values = dict(re.findall(r"^ *(\w+): (\S+)$", manifest, re.MULTILINE))
    assert values["apiVersion"] == "kubeflow.org/v2beta1"
    assert values["mpiImplementation"] in ("OpenMPI", "Intel", "MPICH")
    assert values["launcherCreationPolicy"] in ("AtStartup", "WaitForWorkersReady")
    assert values["cleanPodPolicy"] in ("None", "Running", "All")
    wrong = manifest.replace("slotsPerWorker", "slotsPerworker")
    assert set(fields(wrong)) != FIELDS


def test_the_commands_of_the_manifest_are_those_of_the_command_line():
    manifest = next(block.text for block in BLOCKS if block.kind == "yaml")
    words = re.findall(r'^ +- "?([^:"\n]+)"?$', manifest, re.MULTILINE)
    asked = words[words.index("nnfs-gpu") : words.index("/runs/big")]
    done = ran("nnfs-gpu train --help", ROOT)
    assert all(word in done.stdout for word in asked if word.startswith("--"))
