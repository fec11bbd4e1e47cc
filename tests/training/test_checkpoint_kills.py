"""A kill at every write of a checkpoint, in runs of every kind: the resumed run ends the same.

The bits of all parameters and of the optimizer's arrays, the curve, the iterations and what
chance gives next are those of a run that nothing interrupted. The runs and what a kill leaves:
kill_table.py; kill_program.py kills processes for good.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import ENVIRONMENT, posix
from kill_table import Run, disks, table
from processes import MODULES

from nnfs_gpu.training.checkpoint import FILE

CHOSEN = [
    Run(steps="one", every=1),
    Run(steps="exact", every=1, dropout=True, decay=True),
    Run(steps="one", every=3, validation=True, early="restore"),
    Run(steps="one", every=1, early="patience"),
    Run(steps="one", every=1, shuffle=True),
    Run(steps="one", every=1, data="maps"),
    Run(steps="one", every=1, data="blocks"),
    Run(steps="one", every=1, regression=True, early="patience", validation=True),
    Run(steps="several", every=3, shuffle=True, dropout=True, decay=True),
    Run(steps="several", every=None, data="blocks", early="patience"),
    Run(steps="several", every=1, data="maps", shuffle=True),
    Run(steps="several", every=1, validation=True, early="restore", dropout=True),
    Run(backend="numba", engine="layers", steps="one", every=1, decay=True),
    Run(backend="numba", engine="fused", steps="one", every=1, dropout=True),
    Run(backend="numba", engine="fused", steps="exact", every=1, early="patience"),
    Run(backend="numba", engine="fused", steps="several", every=3, shuffle=True, validation=True),
    Run(backend="numba", engine="fused", steps="one", every=1, data="maps"),
    Run(backend="numba", engine="fused", steps="one", every=1, data="blocks"),
]
MORE = int(os.environ.get("NNFS_GPU_KILL_RUNS", "6"))


@pytest.mark.parametrize("run", [*CHOSEN, *random.Random(1).sample(table(), MORE)], ids=repr)
def test_a_kill_at_every_write(run, tmp_path, monkeypatch):
    expected = run.train(tmp_path, None)
    folder = tmp_path / "run"
    with disks(folder, monkeypatch) as kills:
        assert run.train(tmp_path, folder) == expected
    moments = [moment for _, moment in kills]
    assert moments.count("half") == moments.count("whole") == moments.count("after") >= 2
    for kill in kills:
        assert run.train(tmp_path, folder) == expected, kill
        assert os.listdir(folder) == [FILE]


@posix
def test_killed_for_good():
    """A few of the same with SIGKILL, in processes of their own."""
    program = Path(__file__).with_name("kill_program.py")
    command, found = [sys.executable, str(program), "5", "12"], {"PYTHONPATH": MODULES}
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | found)
    assert done.returncode == 0, done.stderr
    assert "all ended with the bits of the whole run" in done.stdout
