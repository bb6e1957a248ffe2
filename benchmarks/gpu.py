"""The audit of a model on a GPU: are results right, and how near is the device's limit?

``python benchmarks/gpu.py`` needs CuPy (or ``--library torch``) and a CUDA device, and
prints one Markdown table. In one run it measures the card's own float64 matrix product and
copy, then Hessian, leverages, top-k, exact leave-one-out and softmax against them, then
the whole audit of a problem that fills the device, and a smaller one against two threads.
Times are medians of CUDA events around everything that a call does, host included.

``python benchmarks/gpu.py --device cpu`` runs the same program with PyTorch on the CPU at
small sizes, to test the program; those figures mean nothing. Quote a figure only with the
header printed above it. Nothing has been measured on a GPU yet.

What is counted: a Hessian n p**2 (a symmetric product), leverages 2 n p**2 (a product with
the inverse factor), top-k 2 m n p, softmax n p**2 K (K + 1) / 2 floating-point operations.
"""

import argparse
import datetime
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
import sklearn
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import skinfluence
from skinfluence import InfluenceExplainer
from skinfluence.curvature import RowwiseCurvature
from skinfluence.exceptions import SkinfluenceWarning

TOLERANCE = 1e-10  # of results against NumPy, relative to the largest


@dataclass(frozen=True)
class Sizes:
    """Shapes of the problems: rows, features, test rows, classes."""

    gemm: int
    copied: int
    hessian: tuple[tuple[int, int], ...]
    test_rows: int
    exact: tuple[int, int]
    softmax: tuple[tuple[int, int, int], ...]
    audit: tuple[int, int]
    against_cpu: tuple[int, int]


SIZES = {
    "cuda": Sizes(
        gemm=16_384,
        copied=2**29,
        hessian=((10_000_000, 200), (2_000_000, 1_000), (500_000, 4_000)),
        test_rows=500,
        exact=(100_000, 200),
        softmax=((500_000, 200, 10), (200_000, 1_000, 10), (100_000, 1_000, 20)),
        audit=(4_000_000, 1_000),
        against_cpu=(200_000, 1_000),
    ),
    "cpu": Sizes(
        gemm=512,
        copied=2**20,
        hessian=((5_000, 20), (2_000, 100)),
        test_rows=20,
        exact=(500, 10),
        softmax=((1_000, 10, 4),),
        audit=(10_000, 50),
        against_cpu=(5_000, 50),
    ),
}


class Torch:
    """PyTorch on a CUDA device or on the CPU."""

    def __init__(self, device: str) -> None:
        import torch

        self.xp, self.device = torch, device
        self.version = f"PyTorch {torch.__version__}"
        self.card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        torch.manual_seed(0)

    def normal(self, *shape: int) -> Any:
        """Standard normal entries on the device."""
        return self.xp.randn(*shape, dtype=self.xp.float64, device=self.device)

    def seconds(self, work: Callable[[], Any]) -> float:
        """Time on the device's clock from before the work to after it."""
        if self.device == "cpu":
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        first, last = (self.xp.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        work()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3

    def copy(self, target: Any, source: Any) -> None:
        """Copy within the device."""
        target.copy_(source)

    def free(self) -> None:
        """Release cached memory."""
        if self.device == "cuda":
            self.xp.cuda.empty_cache()


class CuPy:
    """CuPy on the current CUDA device."""

    def __init__(self) -> None:
        import cupy

        self.xp = cupy
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.card = properties["name"].decode()
        cuda = cupy.cuda.runtime.runtimeGetVersion()
        self.version = f"CuPy {cupy.__version__}, CUDA {cuda}"
        cupy.random.seed(0)

    def normal(self, *shape: int) -> Any:
        """Standard normal entries on the device."""
        return self.xp.random.standard_normal(shape)

    def seconds(self, work: Callable[[], Any]) -> float:
        """Time on the device's clock from before the work to after it."""
        first, last = self.xp.cuda.Event(), self.xp.cuda.Event()
        first.record()
        work()
        last.record()
        last.synchronize()
        return self.xp.cuda.get_elapsed_time(first, last) / 1e3

    def copy(self, target: Any, source: Any) -> None:
        """Copy within the device."""
        target[...] = source

    def free(self) -> None:
        """Release cached memory."""
        self.xp.get_default_memory_pool().free_all_blocks()


class Problem:
    """A logistic model with known coefficients, rows on the device, targets on the host.

    The model is not fitted: the explainer's polish takes it to its minimum.
    """

    def __init__(self, library: Any, n: int, p: int, n_classes: int = 2) -> None:
        K = 1 if n_classes == 2 else n_classes
        self.n, self.p, self.K = n, p, K
        self.X = library.normal(n, p)
        beta = library.normal(K, p) / p**0.5
        u = host(self.X @ beta.T)
        rng = np.random.default_rng(0)
        if K == 1:
            self.y = (u[:, 0] + rng.logistic(size=n) > 0).astype(int)
        else:
            self.y = np.argmax(u + rng.gumbel(size=u.shape), axis=1)
        self.model = LogisticRegression(tol=1e-4)
        self.model.classes_ = np.arange(n_classes)
        self.model.coef_, self.model.intercept_ = host(beta), np.zeros(K)
        self.model.n_features_in_ = p

    def explainer(self, X: Any = None, **given: Any) -> InfluenceExplainer:
        """The fitted explainer of these rows, or of a copy of them."""
        rows = self.X if X is None else X
        return InfluenceExplainer(self.model, solver="direct", **given).fit(
            rows, self.y
        )


def host(array: Any) -> np.ndarray:
    """A host copy of a device's array."""
    return array.get() if hasattr(array, "get") else np.asarray(array.cpu())


def median(library: Any, work: Callable[[], Any], repeats: int) -> float:
    """Median seconds after one call to warm up."""
    work()
    return statistics.median(library.seconds(work) for _ in range(repeats))


# --- correctness -------------------------------------------------------------------


def check(library: Any) -> float:
    """Largest relative error against NumPy; the program stops if it is too large."""
    worst = 0.0
    for n_classes in (2, 4):
        problem = Problem(library, 400, 12, n_classes)
        X = host(problem.X)
        for deletion in ("newton", "exact"):
            there = problem.explainer(deletion=deletion)
            here = problem.explainer(X, deletion=deletion)
            for question in (
                lambda e, X, y: e.self_influence(),
                lambda e, X, y: e.influence(X[:20], y[:20]),
                lambda e, X, y: e.loo_delta(X[:20], y[:20]),
                lambda e, X, y: e.top_influences(X[:20], y[:20], k=5)[0],
                lambda e, X, y: e.loo_predict("predict_proba"),
                lambda e, X, y: e.loo_params().coef,
            ):
                found = host(question(there, problem.X, problem.y))
                truth = question(here, X, problem.y)
                error = np.max(np.abs(found - truth)) / np.max(np.abs(truth))
                worst = max(worst, float(error))
    if not worst <= TOLERANCE:
        sys.exit(f"Wrong: the error against NumPy is {worst:.1e}. Nothing was timed.")
    return worst


# --- figures -----------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Rates that the device itself reaches in this run."""

    flops: float  # of its matrix product, per second
    bytes: float  # read and written by its copy, per second


def limits(library: Any, sizes: Sizes, repeats: int) -> Limits:
    """The matrix product and the copy of the device."""
    m = sizes.gemm
    A, B = library.normal(m, m), library.normal(m, m)
    product = median(library, lambda: A @ B, repeats)
    source = library.normal(sizes.copied)
    target = library.normal(sizes.copied)
    copy = median(library, lambda: library.copy(target, source), repeats)
    return Limits(2 * m**3 / product, 16 * sizes.copied / copy)


def line(what: str, shape: str, seconds: float, limit: Limits, **work: float) -> str:
    """A row of the table: seconds, and shares of the device's own rates."""
    flops, read = work.get("flops", 0.0) / seconds, work.get("read", 0.0) / seconds
    arithmetic = f"{flops / 1e12:.3f} | {flops / limit.flops:.0%}" if flops else " | "
    memory = f"{read / 1e9:.0f} | {read / limit.bytes:.0%}" if read else " | "
    return f"| {what} | {shape} | {seconds:.4g} | {arithmetic} | {memory} |"


def parts(library: Any, sizes: Sizes, limit: Limits, repeats: int) -> list[str]:
    """Hessian, leverages and top-k of binary models."""
    lines = []
    for n, p in sizes.hessian:
        problem = Problem(library, n, p)
        explainer = problem.explainer()
        point = explainer._study.point
        shape, read = f"n = {n:,}, p = {p:,}", 8.0 * n * p

        def hessian(point: Any = point) -> Any:
            curvature = RowwiseCurvature(point.objective, point.theta)
            return curvature.as_matrix()

        seconds = median(library, hessian, repeats)
        lines.append(line("Hessian", shape, seconds, limit, flops=n * p**2, read=read))
        seconds = median(library, explainer.self_influence, repeats)
        work = {"flops": 2 * n * p**2, "read": read}
        lines.append(line("self-influence of all rows", shape, seconds, limit, **work))
        test, y = problem.X[: sizes.test_rows, :], problem.y[: sizes.test_rows]
        seconds = median(
            library,
            lambda e=explainer, X=test, y=y: e.top_influences(X, y, k=20),
            repeats,
        )
        work = {"flops": 2 * sizes.test_rows * n * p, "read": read}
        what = f"20 largest of {sizes.test_rows} test rows"
        lines.append(line(what, shape, seconds, limit, **work))
        del problem, explainer, point, hessian, test
        library.free()
    return lines


def models(library: Any, sizes: Sizes, limit: Limits, repeats: int) -> list[str]:
    """Exact leave-one-out, and softmax."""
    n, p = sizes.exact
    single = Problem(library, n, p)

    def exact() -> Any:
        return single.explainer(deletion="exact").loo_predict()

    seconds = median(library, exact, min(repeats, 3))
    shape = f"n = {n:,}, p = {p:,}"
    lines = [line("fit and exact leave-one-out of all rows", shape, seconds, limit)]
    for n, p, K in sizes.softmax:
        problem = Problem(library, n, p, K)
        explainer = problem.explainer()
        curvature = explainer._study.point.curvature

        def hessian(curvature: Any = curvature) -> Any:
            again = RowwiseCurvature(curvature.objective, curvature.theta)
            return again.as_matrix()

        seconds = median(library, hessian, min(repeats, 3))
        shape = f"n = {n:,}, p = {p:,}, K = {K}, pK = {p * K:,}"
        flops = n * p**2 * K * (K + 1) / 2
        lines.append(line("softmax Hessian", shape, seconds, limit, flops=flops))
        del problem, explainer, curvature, hessian
        library.free()
    return lines


def audit(explainer: InfluenceExplainer, X: Any, y: Any, m: int) -> None:
    """Every result of an audit, for all rows."""
    explainer.fit(X, y)
    explainer.self_influence()
    explainer.loo_predict()
    explainer.top_influences(X[:m, :], y[:m], k=20)


def whole(library: Any, sizes: Sizes, limit: Limits) -> list[str]:
    """The audit of a problem that fills the device, run once."""
    n, p = sizes.audit
    problem = Problem(library, n, p)
    explainer = InfluenceExplainer(problem.model, solver="direct")
    m = sizes.test_rows
    seconds = library.seconds(lambda: audit(explainer, problem.X, problem.y, m))
    shape = f"n = {n:,}, p = {p:,}, {8 * n * p / 1e9:.3g} GB"
    what = f"whole audit (fit in {explainer.n_iter_} Newton steps)"
    return [line(what, shape, seconds, limit)]


def against_cpu(library: Any, sizes: Sizes, repeats: int) -> list[str]:
    """The same audit by NumPy on two threads, in the same run."""
    n, p = sizes.against_cpu
    problem, m = Problem(library, n, p), sizes.test_rows
    explainer = InfluenceExplainer(problem.model, solver="direct")
    there = median(
        library, lambda: audit(explainer, problem.X, problem.y, m), min(repeats, 3)
    )
    X = host(problem.X)
    with threadpool_limits(2):
        audit(explainer, X[: n // 10], problem.y[: n // 10], m)
        start = time.perf_counter()
        audit(explainer, X, problem.y, m)
        here = time.perf_counter() - start
    shape = f"n = {n:,}, p = {p:,}"
    return [
        f"| the audit on the device | {shape} | {there:.4g} | | | | |",
        f"| the same by NumPy, 2 threads | {shape} | {here:.4g} | | | | |",
        f"| ratio | | {here / there:.1f} | | | | |",
    ]


def header(library: Any, error: float, limit: Limits) -> str:
    """The conditions to quote with every figure."""
    return "\n".join(
        (
            f"{datetime.date.today()}, {library.card}, {library.version}, host "
            f"{platform.machine()} {platform.system()}, Python "
            f"{platform.python_version()}, NumPy {np.__version__}, SciPy "
            f"{scipy.__version__}, scikit-learn {sklearn.__version__}, skinfluence "
            f"{skinfluence.__version__}. Largest error against NumPy: {error:.1e}. The "
            f"device's own float64 matrix product: {limit.flops / 1e12:.3f} TFLOP/s; its "
            f"copy, read and written: {limit.bytes / 1e9:.0f} GB/s.",
            "",
            "| what | problem | s | TFLOP/s | of product | GB/s | of copy |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        )
    )


def main() -> None:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--library", choices=("cupy", "torch"), dest="arrays")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    name = options.arrays or ("cupy" if options.device == "cuda" else "torch")
    if options.device == "cpu" and name == "cupy":
        parser.error("CuPy has no CPU: use --library torch")
    library = CuPy() if name == "cupy" else Torch(options.device)
    sizes = SIZES[options.device]
    warnings.simplefilter(
        "ignore", SkinfluenceWarning
    )  # the coefficients are not a minimum
    error = check(library)
    limit = limits(library, sizes, options.repeats)
    print(header(library, error, limit), flush=True)
    for lines in (
        lambda: parts(library, sizes, limit, options.repeats),
        lambda: models(library, sizes, limit, options.repeats),
        lambda: against_cpu(library, sizes, options.repeats),
        lambda: whole(library, sizes, limit),
    ):
        print("\n".join(lines()), flush=True)
        library.free()


if __name__ == "__main__":
    main()
