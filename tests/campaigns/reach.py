"""Which tests reach a function of the package, what they cost, and whether they pass."""

import importlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

OPTIONS = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"]


@dataclass(frozen=True)
class Measured:
    """A test that passes on the unchanged code."""

    seconds: float
    reached: frozenset  # functions of the package, as (file, first line)


class Recorder:
    """Plugin of pytest: what each test costs, and the functions that it calls."""

    def __init__(self, package):
        self.package = package
        self.called = {}
        self.passed = {}

    def pytest_sessionstart(self):
        threading.settrace(self.trace)
        sys.settrace(self.trace)

    def trace(self, frame, event, _):  # of calls alone, as it returns no function
        self.called[id(frame.f_code)] = frame.f_code

    def reached(self):
        codes, self.called = list(self.called.values()), {}
        here = [code for code in codes if code.co_filename.startswith(self.package)]
        return frozenset((code.co_filename, code.co_firstlineno) for code in here)

    def pytest_runtest_logreport(self, report):
        if report.when == "setup":
            self.failed, self.seconds = False, 0.0
        self.failed |= not report.passed
        self.seconds += report.duration
        if report.when == "teardown":
            reached = self.reached()
            if not self.failed:
                self.passed[report.nodeid] = Measured(self.seconds, reached)


class Chosen:
    """Plugin of pytest: run only these tests, in this order."""

    def __init__(self, tests):
        self.rank = {test: rank for rank, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.rank]
        items.sort(key=lambda item: self.rank[item.nodeid])


def preload():
    """Import what all tests import, so that each forked run need not."""
    modules = "pytest scipy.optimize scipy.stats scipy.sparse.linalg threadpoolctl"
    sklearn = "compose frozen linear_model model_selection multiclass pipeline svm"
    sklearn = [f"sklearn.{name}" for name in sklearn.split()]
    for name in [*modules.split(), *sklearn]:
        importlib.import_module(name)


def measure(path, package):
    """What each test of a file costs and reaches, and the seconds that took."""
    recorder, out = Recorder(str(package)), Path("reached.pickle")

    def work(pytest):
        sys.dont_write_bytecode = False
        pytest.main([*OPTIONS, path], plugins=[recorder])
        sys.settrace(None)
        out.write_bytes(pickle.dumps(recorder.passed))
        return 0

    out.unlink(missing_ok=True)
    _, seconds = in_fork(work, limit=900)
    return pickle.loads(out.read_bytes()), seconds


def pass_all(tests, limit):
    """Whether tests pass, stopped at the first failure, and the processor's seconds."""

    def work(pytest):
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        return pytest.main(["-x", *OPTIONS, *files], plugins=[Chosen(tests)])

    return in_fork(work, limit)


def in_fork(work, limit):
    """Whether ``work`` returns 0 within ``limit`` seconds of the processor; its seconds.

    Those who sleep for ever are ended after ten times as long.
    """
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.dont_write_bytecode = True
        sys.path[:0] = [os.getcwd()]
        os._exit(work(importlib.import_module("pytest")))
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status == 0, usage.ru_utime + usage.ru_stime
        if time.perf_counter() - start > 10 * limit:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)
