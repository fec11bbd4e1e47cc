"""The command line as people use it: the real command, in processes of its own.

A start costs about half a second, so commands that do not depend on one another are started
together, and what several tests look at is made once (`trained`, `bad_runs`).
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nnfs_gpu import (
    Activation_Softmax,
    Layer_Dense,
    Model,
    Optimizer_SGD,
    cli_progress,
    get_backend,
    picture,
    spiral_bayes_limit,
    spiral_data,
    use_backend,
)

posix = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX systems")
ESCAPE = "\x1b"

ENVIRONMENT = os.environ | {
    "OPENBLAS_NUM_THREADS": "1",  # small products: a second thread only waits
    "TERM": "xterm",
    "NNFS_GPU_BACKEND": "numpy",  # what --backend overrides; starts faster than numba
}
for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
    ENVIRONMENT.pop(name, None)


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "nnfs_gpu.cli", *map(str, arguments)]


def run(*arguments, stdin: bytes = b"", cwd=None) -> subprocess.CompletedProcess:
    """One run of the real command; stdout and stderr as text."""
    done = subprocess.run(
        command(*arguments), input=stdin, capture_output=True, cwd=cwd, env=ENVIRONMENT, timeout=120
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def together(*runs) -> list[subprocess.CompletedProcess]:
    """Independent commands, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda arguments: run(*arguments), runs))


def assert_png(path: Path) -> None:
    """A whole PNG of the promised size."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (picture.WIDTH, picture.HEIGHT)
    assert data[-8:-4] == b"IEND"


TRAIN = ("train", "--samples", 3000, "--epochs", 9, "--batch-size", 64, "--learning-rate", 0.02)
TRAIN += ("--hidden", "64,48", "--seed", 5, "--backend", "numpy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, the run that filled it, the same run again as JSON on stdout without a picture)."""
    base = tmp_path_factory.mktemp("trained")
    first, second = together(
        (*TRAIN, "--out", base / "made" / "here"),
        (*TRAIN, "--out", base / "again", "--no-plot", "--json", "-"),
    )
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    return base / "made" / "here", first, second


# ---- train ----
def test_train_writes_three_files_that_say_the_same(trained):
    folder, done, _ = trained
    assert sorted(p.name for p in folder.iterdir()) == [
        "decision.png",
        "metrics.json",
        "model.safetensors",
    ]
    assert_png(folder / "decision.png")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["bayes_limit"] == spiral_bayes_limit(3)
    assert metrics["interrupted"] is False
    assert metrics["backend"] == "numpy"
    assert metrics["samples_per_second"] > 0
    assert metrics["epochs_finished"] == 9
    assert metrics["steps"] == 9 * -(-9000 // 64)
    assert metrics["config"] == {
        "samples": 3000,
        "classes": 3,
        "hidden": [64, 48],
        "epochs": 9,
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 0.02,
        "decay": 0.001,
        "backend": "numpy",
        "dtype": "float32",
        "seed": 5,
    }
    assert set(metrics["versions"]) == {"nnfs_gpu", "python", "numpy", "numba", "safetensors"}
    assert metrics["versions"]["numpy"] == np.__version__
    curve = metrics["curve"]
    assert curve["epoch"] == list(range(1, 10))
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert len(curve[key]) == 9
    assert curve["loss"][-1] < curve["loss"][0]
    # At chance it would be 0.33, and 0.4 to 0.5 if batches held one class each.
    assert 0.8 < metrics["validation_accuracy"] < metrics["bayes_limit"] + 0.02
    # The table repeats the numbers of the file.
    for key in ("train_accuracy", "validation_accuracy", "bayes_limit"):
        assert f" {metrics[key]:.4f} " in done.stdout
    assert f" {metrics['samples_per_second']:,.0f} " in done.stdout


def test_metrics_are_those_of_the_saved_model_on_the_documented_points(trained):
    folder, _, _ = trained
    metrics = json.loads((folder / "metrics.json").read_text())
    with use_backend("numpy", dtype="float32"):
        model = Model.load(folder / "model.safetensors")
        for key, samples, seed in (("train", 3000, 5), ("validation", 3334, 6)):
            X, y = spiral_data(samples, 3, seed=seed)
            accuracy = float((model.predict(X).argmax(axis=1) == y).mean())
            # One point may fall the other way: products round by the batch's size.
            assert metrics[f"{key}_accuracy"] == pytest.approx(accuracy, abs=1.5 / len(y))
    assert metrics["curve"]["val_accuracy"][-1] == pytest.approx(
        metrics["validation_accuracy"], abs=1.5 / 10_000
    )


def test_same_seed_gives_the_same_model_and_json_alone_on_stdout(trained):
    folder, _, again = trained
    metrics = json.loads(again.stdout)  # nothing but JSON on stdout
    other = folder.parent.parent / "again"
    assert sorted(p.name for p in other.iterdir()) == ["metrics.json", "model.safetensors"]
    assert metrics == json.loads((other / "metrics.json").read_text())
    with use_backend("numpy", dtype="float32"):
        models = [Model.load(place / "model.safetensors") for place in (folder, other)]
    for mine, its in zip(*(model.get_parameters() for model in models), strict=True):
        np.testing.assert_array_equal(mine[0], its[0])
        np.testing.assert_array_equal(mine[1], its[1])
    assert "validation accuracy" in again.stderr
    assert "epoch 9/9" in again.stderr


def test_no_terminal_codes_in_pipes_and_one_line_an_epoch(trained):
    _, done, again = trained
    for text in (done.stdout, done.stderr, again.stdout, again.stderr):
        assert ESCAPE not in text
        assert "\r" not in text
    lines = re.findall(r"^epoch (\d)/9  loss \d\.\d{4}  accuracy 0\.", done.stdout, re.MULTILINE)
    assert lines == list("123456789")
    assert done.stderr == ""


def test_default_backend_one_epoch_and_other_choices(tmp_path):
    """The defaults that the other tests replace: a backend by `auto`, three optimizers."""
    small = ("train", "--samples", 50, "--epochs", 1, "--json", "-", "--no-plot", "--out")
    auto = ("--backend", "auto")
    sgd, adagrad, rmsprop, wide = together(
        (*small, tmp_path / "a", "--optimizer", "sgd", *auto),
        (*small, tmp_path / "b", "--optimizer", "adagrad", "--learning-rate", 0.25),
        (*small, tmp_path / "c", "--optimizer", "rmsprop", "--decay", 0, "--dtype", "float64"),
        (*small, tmp_path / "d", "--classes", 300),
    )
    for done, optimizer, rate, decay in (
        (sgd, "sgd", 0.5, 1e-3),
        (adagrad, "adagrad", 0.25, 0),
        (rmsprop, "rmsprop", 0.01, 0),
        (wide, "adam", 0.01, 1e-3),
    ):
        assert done.returncode == 0, done.stderr
        config = json.loads(done.stdout)["config"]
        assert (config["optimizer"], config["learning_rate"], config["decay"]) == (
            optimizer,
            rate,
            decay,
        )
    assert json.loads(rmsprop.stdout)["config"]["dtype"] == "float64"
    assert json.loads(sgd.stdout)["backend"] == get_backend("auto").name
    assert json.loads(wide.stdout)["backend"] == "numpy"  # NNFS_GPU_BACKEND says so
    assert json.loads(wide.stdout)["bayes_limit"] == spiral_bayes_limit(300)
    with use_backend("numpy"):
        assert Model.load(tmp_path / "c" / "model.safetensors").backend.dtype == np.float64
        assert Model.load(tmp_path / "d" / "model.safetensors").layers[-2].n_neurons == 300


# ---- signals ----
def _interrupted(tmp_path, signum) -> tuple[int, str, dict]:
    """Start a long run, send `signum` after its first epoch; (exit code, stderr, metrics)."""
    arguments = ("train", "--samples", 2000, "--epochs", 100_000)
    with subprocess.Popen(
        command(*arguments, "--no-plot", "--out", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # A shell's background jobs ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        for line in process.stdout:
            if line.startswith("epoch"):
                process.send_signal(signum)
                break
        out, err = process.communicate(timeout=60)
    assert "interrupted" in out  # the table came
    return process.returncode, err, json.loads((tmp_path / "metrics.json").read_text())


@posix
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_and_keeps_what_was_learned(tmp_path, signum, code):
    returncode, err, metrics = _interrupted(tmp_path, signum)
    assert returncode == code
    assert err.strip() == "stopping after this step; once more ends at once, without saving"
    assert metrics["interrupted"] is True
    assert 1 <= metrics["epochs_finished"] < 100_000
    assert metrics["steps"] >= 6 * metrics["epochs_finished"]
    with use_backend("numpy", dtype="float32"):
        model = Model.load(tmp_path / "model.safetensors")
        X, y = spiral_data(3334, 3, seed=1)  # training had seed 0
        accuracy = float((model.predict(X).argmax(axis=1) == y).mean())
    assert metrics["validation_accuracy"] == pytest.approx(accuracy, abs=1.5 / len(y))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "model.safetensors"]


@posix
def test_ctrl_c_outside_training_is_one_line(tmp_path, trained):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(
        command("predict", trained[0], pipe),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        with open(pipe, "wb"):  # returns when the command has opened its end and waits for rows
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err == "error: interrupted; nothing was written\n"


# ---- a terminal ----
@posix
def test_on_a_terminal_a_bar_moves_within_an_epoch(tmp_path):
    import pty

    parent, child = pty.openpty()
    arguments = ("--samples", "500", "--epochs", "2", "--batch-size", "50", "--no-plot")
    with subprocess.Popen(
        command("train", *arguments, "--out", tmp_path),
        stdin=child,
        stdout=child,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT | {"COLUMNS": "100", "LINES": "30"},
    ) as process:
        os.close(child)
        text = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            text += part
        assert process.wait(timeout=60) == 0, process.stderr.read()
    os.close(parent)
    shown = text.decode()
    assert ESCAPE + "[?25l" in shown  # the cursor is hidden while the bar moves,
    assert ESCAPE + "[?25h" in shown  # and shown again
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    frames = re.findall(r"epoch ([12])/2 +(\S+) +loss (\d\.\d+) accuracy (0\.\d+)", plain)
    first = [frame for frame in frames if frame[0] == "1"]
    # One within the epoch, with the numbers so far, before the one at its end.
    assert len({(loss, accuracy) for _, _, loss, accuracy in first}) >= 2
    assert {epoch for epoch, *_ in frames} == {"1", "2"}
    assert "━" in frames[-1][1]
    assert "samples/s" in plain
    assert "left" in plain
    assert "val_loss" not in plain  # those are the plain lines
    assert "validation accuracy" in plain


# ---- evaluate ----
def test_evaluate_takes_folder_or_file_and_fresh_points(trained, tmp_path):
    folder, _, _ = trained
    target = tmp_path / "e.json"
    same, fresh, validation = together(
        ("evaluate", folder, "--samples", 3334, "--seed", 6, "--json", "-"),
        ("evaluate", folder / "model.safetensors", "--json", target),
        ("evaluate", folder, "--samples", 3000, "--seed", 5, "--backend", "numba", "--json", "-"),
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    found = json.loads(same.stdout)
    assert found["accuracy"] == metrics["validation_accuracy"]
    assert found["loss"] == pytest.approx(metrics["validation_loss"], rel=1e-6)
    assert found["bayes_limit"] == spiral_bayes_limit(3)
    other = json.loads(target.read_text())
    assert other["seed"] > 2**32  # no seed of train, nor of its validation points
    assert other["accuracy"] not in (metrics["validation_accuracy"], metrics["train_accuracy"])
    assert abs(other["accuracy"] - metrics["validation_accuracy"]) < 0.02
    assert f" {other['accuracy']:.4f} " in fresh.stdout
    assert f" {other['loss']:.4f} " in fresh.stdout
    assert "0.9098" in fresh.stdout
    # On another backend the training points give the training accuracy.
    by_numba = json.loads(validation.stdout)
    assert by_numba["backend"] == "numba"
    assert by_numba["accuracy"] == pytest.approx(metrics["train_accuracy"], abs=3 / 9000)


# ---- predict ----
def test_predict_is_the_same_from_csv_npy_and_stdin(trained, tmp_path):
    folder, _, _ = trained
    rows = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    text = "x,y\n" + "".join(f"{x!r}, {y!r}\n" for x, y in rows.tolist())
    (tmp_path / "rows.csv").write_text(text)
    np.save(tmp_path / "rows.npy", rows)
    target = tmp_path / "out.csv"
    from_csv = run("predict", folder, tmp_path / "rows.csv")
    from_npy = run("predict", folder, tmp_path / "rows.npy", "--output", target)
    bare = text.split("\n", 1)[1].replace("\n", "\r\n")
    bare = "\ufeff" + bare  # no header, and the beginning and line ends that Excel writes
    from_stdin = run("predict", folder, "-", stdin=bare.encode())
    for done in (from_csv, from_npy, from_stdin):
        assert (done.returncode, done.stderr) == (0, "")
    assert from_npy.stdout == ""
    assert target.read_text() == from_csv.stdout == from_stdin.stdout
    header, *lines = csv.reader(io.StringIO(from_csv.stdout))
    assert header == ["class", "p0", "p1", "p2"]
    with use_backend("numpy", dtype="float32"):
        expected = Model.load(folder / "model.safetensors").predict(rows)
    found = np.array([line[1:] for line in lines]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)  # 9 digits give a float32 back, bit for bit
    assert [int(line[0]) for line in lines] == expected.argmax(axis=1).tolist()


# ---- info, help, imports ----
def test_info_lists_backends_and_versions():
    done, machine = together(("info",), ("info", "--json", "-"))
    found = json.loads(machine.stdout)
    assert found["backends"]["numpy"]["usable"] is True
    assert np.__version__ in found["backends"]["numpy"]["reason"]
    for status in found["backends"].values():
        assert status["usable"] or (status["reason"] and status["remedy"])
    usable = [name for name, status in found["backends"].items() if status["usable"]]
    assert found["auto"] == usable[0]
    assert 1 <= found["usable_cpus"] <= found["cpus"] == os.cpu_count()
    assert found["versions"]["numpy"] == np.__version__
    assert ESCAPE not in done.stdout
    for name in found["backends"]:
        assert name in done.stdout
    assert found["cuda_driver"].split()[0] in done.stdout


def test_help_explains_and_no_command_shows_it():
    bare, of_train, version = together((), ("train", "--help"), ("--version",))
    assert (bare.returncode, of_train.returncode) == (0, 0)
    for name in ("train", "evaluate", "predict", "info"):
        assert f" {name} " in bare.stdout
    words = " ".join(of_train.stdout.replace("│", " ").split())
    assert "100000" in words
    assert "of each class" in words or "each class" in words
    assert re.fullmatch(r"nnfs-gpu \d+\.\d+\.\d+\S*\n", version.stdout)


def test_imports_stay_light():
    """The package does not load the command line; its help loads neither Numba nor Matplotlib."""
    code = """
import sys, nnfs_gpu
heavy = {"typer", "rich", "matplotlib", "numba", "nnfs_gpu.cli"} & set(sys.modules)
assert not heavy, heavy
sys.argv = ["nnfs-gpu", "train", "--help"]
from nnfs_gpu.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
heavy = {"matplotlib", "numba", "matplotlib.pyplot"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# ---- bad input ----
# name: (arguments, exit code, what the line must hold). {dir} is a fresh folder, {model} a
# model file, {file} an ordinary text file in {dir}.
BAD = {
    "command": ("bogus", 2, "bogus"),
    "option": ("train --bogus 1", 2, "--bogus"),
    "samples": ("train --samples 0", 2, "--samples"),
    "classes": ("train --classes 0", 2, "--classes"),
    "hidden text": ("train --hidden 64,x", 2, "--hidden '64,x'"),
    "hidden zero": ("train --hidden 0", 2, "--hidden '0'"),
    "rate": ("train --learning-rate -0.1", 2, "--learning-rate -0.1"),
    "rate nan": ("train --learning-rate nan", 2, "--learning-rate nan"),
    "optimizer": ("train --optimizer lion", 2, "adagrad"),
    "dtype": ("train --dtype float16", 2, "float64"),
    "backend": ("train --backend abacus", 2, "numpy"),
    "out is a file": ("train --out {file}", 2, "expected a folder"),
    "out in a file": ("train --out {file}/deep/er", 2, "cannot write there"),
    "json is a folder": ("train --json {dir}", 2, "expected a file"),
    "json nowhere": ("train --json {dir}/none/m.json", 2, "cannot write there"),
    "diverged": (
        "train --samples 50 --epochs 3 --learning-rate 1e30 --out {dir}/a/b",
        1,
        "lower --learning-rate than 1e+30",
    ),
    "no model": ("evaluate {dir}", 2, "nnfs-gpu train"),
    "foreign model": ("evaluate {file}", 2, "not a readable safetensors file"),
    "damaged model": ("predict {dir}/half.safetensors {file}", 2, "half.safetensors"),
    "no input": ("predict {model} {dir}/none.csv", 2, "No such file"),
    "text": ("predict {model} {file}", 2, "got 'words'"),
    "empty": ("predict {model} {dir}/empty.csv", 2, "is empty"),
    "header only": ("predict {model} {dir}/header.csv", 2, "no rows"),
    "columns": ("predict {model} {dir}/wide.csv --output {dir}/o.csv", 2, "expected (samples, 2)"),
    "ragged": ("predict {model} {dir}/ragged.csv", 2, "line 3: got 1 numbers, expected 2"),
    "nan": ("predict {model} {dir}/nan.csv --output {dir}/o.csv", 2, "NaN or infinity"),
    "pickle": ("predict {model} {dir}/object.npy", 2, "damaged .npy"),
    "binary": ("predict {model} {model}", 2, "neither CSV"),
    "output nowhere": ("predict {model} {file} --output {dir}/none/o.csv", 2, "cannot write"),
}
if Path("/dev/full").exists():  # a disk that is full: every write to it fails
    BAD["full disk"] = (
        "predict {model} {dir}/good.csv --output /dev/full",
        1,
        "/dev/full: No space left",
    )


def _bad_case(base: Path, number: int, arguments: str, model: Path):
    """Run one case in a folder of its own; (the run, files that it left behind)."""
    folder = base / str(number)
    folder.mkdir()
    (folder / "file.txt").write_text("no,model,words\n1,words\n")
    (folder / "half.safetensors").write_bytes(model.read_bytes()[:-100])
    (folder / "empty.csv").write_text(" \n")
    (folder / "header.csv").write_text("x,y\n")
    (folder / "wide.csv").write_text("1,2,3\n")
    (folder / "ragged.csv").write_text("1,2\n\n3\n")
    (folder / "nan.csv").write_text("1,2\nnan,3\n")
    (folder / "good.csv").write_text("1,2\n")
    np.save(folder / "object.npy", np.array([{}, None], dtype=object))
    before = sorted(folder.rglob("*"))
    filled = [
        part.format(dir=folder, model=model, file=folder / "file.txt") for part in arguments.split()
    ]
    return run(*filled, cwd=folder), sorted(set(folder.rglob("*")) - set(before))


@pytest.fixture(scope="module")
def bad_runs(trained, tmp_path_factory):
    """All of `BAD`, two at a time."""
    base, model = tmp_path_factory.mktemp("bad"), trained[0] / "model.safetensors"
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(
            lambda item: _bad_case(base, item[0], item[1][0], model), enumerate(BAD.values())
        )
        return dict(zip(BAD, runs, strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(bad_runs, name):
    _, code, expected = BAD[name]
    done, left = bad_runs[name]
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    assert "should not happen" not in lines[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert left == []


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="the administrator may write everywhere"
)
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o555)
    done = run("train", "--out", tmp_path / "new")
    tmp_path.chmod(0o755)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --out")


# ---- parts, without processes ----
class _Clock:
    """time.perf_counter that moves when the test says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class _Display:
    def __init__(self):
        self.epochs = []

    def begin(self, epochs, samples):
        pass

    def due(self):
        return False

    def epoch(self, epoch, numbers):
        self.epochs.append(numbers)


def test_speed_counts_training_steps_without_the_first_and_without_validation(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(cli_progress, "time", clock)
    stop = cli_progress.StopRequest()
    watch = cli_progress.TrainingWatch(_Display(), 100, stop)
    watch.model = Model()
    watch.on_train_begin({"epochs": 2, "steps": 3, "samples": 250})
    clock.now += 50  # the first step compiles
    watch.on_train_batch_end(0, {"epoch": 1})
    assert watch.samples_per_second == 100 / 50  # nothing better is known yet
    for epoch in (1, 2):
        for batch in range(1 if epoch == 1 else 0, 3):
            clock.now += 2
            watch.on_train_batch_end(batch, {"epoch": epoch})
        clock.now += 1000  # validation
        watch.on_epoch_end(epoch, {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0})
    assert watch.samples_per_second == pytest.approx((2 * 250 - 100) / (5 * 2))
    assert watch.training_seconds == pytest.approx(50 + 10)
    assert watch.steps == 6
    assert watch.curve["loss"] == [1.0, 1.0]
    stop.signum = signal.SIGINT
    with pytest.raises(cli_progress.TrainingStopped):
        watch.on_train_batch_end(0, {"epoch": 3})
    watch.model.optimizer = Optimizer_SGD(learning_rate=3.0)
    with pytest.raises(cli_progress.DivergedError, match="lower --learning-rate than 3"):
        watch.on_epoch_end(3, {"loss": float("nan"), "accuracy": 0.5, "val_loss": 1.0})


@pytest.mark.parametrize(("classes", "epochs"), [(1, 1), (2, 0), (3, 40), (7, 2), (300, 3)])
def test_picture_of_any_number_of_classes_and_epochs(classes, epochs, tmp_path):
    with use_backend("numpy", dtype="float32"):
        model = Model()
        model.add(Layer_Dense(2, classes))
        model.add(Activation_Softmax())
        model.finalize()
        points, labels = spiral_data(20, classes, seed=0)
    numbers = [1 / n for n in range(1, epochs + 1)]
    curve = {key: numbers for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
    curve["epoch"] = list(range(1, epochs + 1))
    png = picture.draw(model, points, labels, curve, spiral_bayes_limit(classes), "Title")
    (tmp_path / "p.png").write_bytes(png)
    assert_png(tmp_path / "p.png")


def test_regions_take_the_colour_of_the_likely_class():
    """A network that decides by the sign of x: left and right half, paler at the border."""
    with use_backend("numpy", dtype="float32"):
        model = Model()
        model.add(Layer_Dense(2, 2))
        model.layers[0].weights = [[-8.0, 8.0], [0.0, 0.0]]
        model.add(Activation_Softmax())
        model.finalize()
    image = picture.region_image(model, 64)
    left, right = image[32, 8, :3], image[32, 55, :3]
    blue, orange = picture.class_colours(2)
    assert np.abs(left - blue).sum() < np.abs(left - orange).sum()
    assert np.abs(right - orange).sum() < np.abs(right - blue).sum()
    assert image[32, 32, :3].min() > max(left.min(), right.min())  # the border is paler
    assert image[0, 0, 3] == 0  # beyond the data: transparent
    assert image[32, 8, 3] == 1
