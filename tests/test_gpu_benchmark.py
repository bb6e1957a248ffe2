"""``benchmarks/gpu.py`` runs, and refuses to time what is wrong: on the CPU, with torch."""

import importlib.util
from pathlib import Path

import pytest

from skinfluence.exceptions import SkinfluenceWarning

pytest.importorskip("torch").set_num_threads(1)
SOURCE = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture
def gpu(monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SOURCE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    small = module.Sizes(
        gemm=64,
        copied=2**12,
        hessian=((300, 10),),
        test_rows=30,
        exact=(100, 4),
        softmax=((200, 4, 3),),
        audit=(400, 10),
        against_cpu=(400, 10),
    )
    monkeypatch.setitem(module.SIZES, "cpu", small)
    monkeypatch.setattr("sys.argv", ["gpu.py", "--device", "cpu", "--repeats", "1"])
    return module


@pytest.mark.filterwarnings("ignore")
def test_the_program_prints_one_table_with_its_versions(gpu, capsys):
    gpu.main()
    printed = capsys.readouterr().out.splitlines()
    assert "skinfluence" in printed[0] and "PyTorch" in printed[0]
    table = printed[2:]
    assert {row.count("|") for row in table} == {8}
    asked = ("Hessian", "largest", "leave-one-out", "softmax", "whole audit", "ratio")
    assert all(any(word in row for row in table) for word in asked)
    shares = [row.split("|")[5].strip() for row in table if "| Hessian" in row]
    assert all(share.endswith("%") for share in shares)


@pytest.mark.filterwarnings(
    f"ignore::{SkinfluenceWarning.__module__}.SkinfluenceWarning"
)
def test_nothing_is_timed_where_an_answer_is_wrong(gpu, monkeypatch):
    from skinfluence._kernels import _torch

    right = _torch.TorchKernels.squared_row_norms
    monkeypatch.setattr(
        _torch.TorchKernels,
        "squared_row_norms",
        lambda *a, **k: right(*a, **k) * (1 + 1e-8),
    )
    with pytest.raises(SystemExit, match="error against NumPy"):
        gpu.main()
