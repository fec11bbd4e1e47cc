"""Launchers that start processes which do not see each other; and MPI that is not there."""

import os
import subprocess
import sys

import pytest
from rank_runs import PACKAGE, check_mpiexec, run_ranks

from nnfs_gpu.ranks.errors import WorldError
from nnfs_gpu.ranks.launchers import LAUNCHERS, check, promised

SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_STEP_ID": "0"}
STEP = SLURM | {"SLURM_STEP_NUM_TASKS": "4"}
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "3"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        (STEP, ("srun", 2, 4, True)),
        # The script of a batch job has a number, too, and is one process of one.
        (SLURM | {"SLURM_PROCID": "0"}, None),
        (MPICH, ("mpiexec", 1, 3, True)),
        # mpiexec inside of a job: Slurm has started one helper a node.
        (STEP | MPICH, ("mpiexec", 1, 3, True)),
        (STEP | {"PMIX_RANK": "2"}, ("srun", 2, 4, True)),
        (
            {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "0"},
            ("Open MPI's mpirun", 0, 2, True),
        ),
        ({"PMIX_RANK": "2"}, ("a launcher with PMIx", 2, 3, False)),
        ({"PMIX_RANK": "0"}, ("a launcher with PMIx", 0, 1, False)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, None),  # anybody's
        (
            {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"},
            ("torchrun", 1, 2, True),
        ),
        ({"FLUX_TASK_RANK": "0", "FLUX_JOB_SIZE": "2"}, ("flux run", 0, 2, True)),
        ({"PMI_RANK": "", "PMI_SIZE": "many"}, None),
    ],
)
def test_what_launchers_say(variables, expected):
    found = promised(variables)
    if expected is None:
        assert found is None
    else:
        assert (found.launcher, found.rank, found.size, found.known) == expected


@pytest.fixture
def launched(monkeypatch):
    """A function that puts this process under a launcher, alone."""
    for one in LAUNCHERS:
        for name in (one.rank, one.size, one.needs):
            monkeypatch.delenv(name, raising=False)

    def under(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return under


@pytest.mark.parametrize(
    ("variables", "quiet", "several"),
    [
        (MPICH | {"PMI_RANK": "0"}, False, "mpiexec has started 3 processes"),
        (MPICH, True, "mpiexec has started 3 processes"),
        (STEP, True, "srun has started 4 processes"),
        # Nobody knows how many there are, and the first knows of no other.
        ({"PMIX_RANK": "1"}, False, "a launcher with PMIx has started at least 2 processes"),
        ({"PMIX_RANK": "2"}, True, "a launcher with PMIx has started at least 3 processes"),
    ],
)
def test_processes_that_believe_that_they_are_alone(launched, variables, quiet, several):
    launched(variables)
    with pytest.raises(WorldError, match=rf"{several}, and MPI \(Some MPI 1\) sees one") as found:
        check(1, "Some MPI 1")
    assert found.value.quiet is quiet
    check(3, "Some MPI 1")


@pytest.mark.parametrize("variables", [{}, MPICH | {"PMI_SIZE": "1"}, {"PMIX_RANK": "0"}])
def test_one_process(launched, variables):
    launched(variables)
    check(1, "Some MPI 1")


# ---- whole programs ----
def python(program, **variables):
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_of_them_says_it_and_all_end():
    """As under a `jsrun` that does not know the MPI which Python loads."""
    check_mpiexec()
    program = "import nnfs_gpu; nnfs_gpu.World.mpi(); print('trains')"
    for rank in range(2):
        variables = {"JSM_NAMESPACE_RANK": str(rank), "JSM_NAMESPACE_SIZE": "2"}
        done = python(program, **variables)
        assert (done.returncode, done.stdout) == (1, "")
        if rank:
            assert done.stderr == ""
        else:
            last = done.stderr.splitlines()[-1]
            assert "WorldError: jsrun has started 2 processes, and MPI (" in last


MISSING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise {error}

sys.meta_path.insert(0, Missing())
import nnfs_gpu
nnfs_gpu.World.mpi()
"""


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "mpi4py",
            "ModuleNotFoundError('No module named mpi4py', name='mpi4py')",
            "WorldError: mpi4py is not installed, which World.mpi needs: pip install",
        ),
        (
            "mpi4py.MPI",
            r"RuntimeError('cannot load MPI library\nlibmpi.so: no such file')",
            "WorldError: mpi4py does not find its MPI library (cannot load MPI library): load the",
        ),
        (
            "mpi4py.MPI",
            "ImportError('libmpi.so.12: cannot open shared object file')",
            "WorldError: mpi4py does not find its MPI library (libmpi.so.12: cannot open",
        ),
    ],
)
def test_no_mpi(name, error, message):
    if name == "mpi4py.MPI":
        pytest.importorskip("mpi4py")
    done = python(MISSING.format(name=name, error=error))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"nnfs_gpu.ranks.errors.{message}")


def test_a_timeout_that_is_none():
    for given in ("0", "-1", "float('nan')"):
        done = python(f"import nnfs_gpu; nnfs_gpu.World.mpi(timeout={given})")
        assert "ValueError: timeout: got" in done.stderr


def test_the_mpi_of_this_environment_fits_its_launcher():
    done = run_ranks(2, "from nnfs_gpu import World; w = World.mpi(20); say(rank=w.rank, n=w.size)")
    assert done.said == [{"rank": 0, "n": 2}, {"rank": 1, "n": 2}]
