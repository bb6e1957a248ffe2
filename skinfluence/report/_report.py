"""``InfluenceReport``: what each training row did, on one page."""

import json
import os
import tempfile
import webbrowser
from numbers import Integral
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from skinfluence._plain import plain
from skinfluence.exceptions import InvalidDataError, InvalidParameterError
from skinfluence.explainer import InfluenceExplainer
from skinfluence.report._content import Asked, Content, content_of
from skinfluence.report._figures import Figure, figures_of
from skinfluence.report._page import fragment, page
from skinfluence.study import remembering, study_of
from skinfluence.support import checks

# Default number of refits if the training rows are given.
_REFITS = 50


class InfluenceReport:
    """One self-contained page: the health of a model and what each row did to it.

    It shows how far the model can be relied on, the rows that hurt and help, likely label
    errors, groups, figures, the agreement with refits, and a table of rows to sort and
    search. The page loads nothing from the network, and shows data only as text.

    Signs: *influence*: positive = up-weighting the row raises the loss (harmful).
    *Delta*: without the row minus with it, so a negative loss delta is harmful too.

    Parameters
    ----------
    explainer : InfluenceExplainer
        Fitted. Its ``deletion`` is used throughout.
    X_test, y_test : array-like or None, default=None
        Test rows on whose mean loss the effects are measured, and their targets. None
        uses the other training rows, without the tenth that is hardest to predict.
    X_train : array-like of shape (n_train, n_features) or None, default=None
        The training rows as given to ``fit``. If given, their values are shown instead of
        the outputs of the transformers, and the estimates are compared with refits.
    groups : array-like of shape (n_train,), list of array-likes of int, or None, \
            default=None
        As for ``InfluenceExplainer.group_delta``: adds the effect of deleting each group.
    agreement : Bunch, int or "auto", default="auto"
        The result of ``check_leave_one_out``, or the number of rows to refit without
        (0 for none). "auto" is 50 if ``X_train`` is given, else 0.
    names : array-like of shape (n_train,) or None, default=None
        Names of the training rows; None takes the index of the training table.
    top : int, default=10
        Rows in each list of harmful, helpful and suspicious rows.
    max_rows : int, default=10000
        Maximum number of rows in the table; if there are more, the most extreme ones are
        shown. With the default the page stays below 5 MB.
    figures : bool, default=True
        Whether to draw figures, with matplotlib; without it the page says so.
    title : str or None, default=None
        Heading; None names the estimator.

    Attributes
    ----------
    explainer : InfluenceExplainer
        As given.

    Raises
    ------
    NotFittedError
        If the explainer is not fitted.
    InvalidParameterError
        If a parameter is out of range, or ``explainer`` is not an ``InfluenceExplainer``.
    InvalidDataError
        If X_test has no y_test, or X_train is not what the explainer was fitted on.

    See Also
    --------
    InfluenceExplainer.diagnostics : The textbook columns of all rows.
    check_leave_one_out : The agreement with refits.

    Notes
    -----
    The constructor computes everything. Cost: a few times ``n d**2`` multiplications for
    the leave-one-out results of the rows, and one loss for each pair of a training row
    and a test row. Beyond 5e8 pairs the deltas of the mean loss are first-order
    estimates, and the page says so. Warnings are shown as notes on the page.

    References
    ----------
    .. [1] Koh & Liang (2017). Understanding black-box predictions via influence
       functions. ICML. Equations 1 and 2.
    .. [2] Cook & Weisberg (1982). Residuals and influence in regression. Chapter 3.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skinfluence import InfluenceExplainer, InfluenceReport
    >>> X, y = load_diabetes(return_X_y=True)
    >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
    >>> report = InfluenceReport(explainer, X[300:], y[300:], figures=False)
    >>> worst = report.to_dict()["most_harmful"][0]
    >>> worst["row"], worst["loo_delta"] < 0 < worst["influence"]
    (37, True)
    """

    def __init__(
        self,
        explainer: InfluenceExplainer,
        X_test: Any = None,
        y_test: Any = None,
        *,
        X_train: Any = None,
        groups: Any = None,
        agreement: Bunch | int | str | None = "auto",
        names: ArrayLike | None = None,
        top: int = 10,
        max_rows: int = 10_000,
        figures: bool = True,
        title: str | None = None,
    ) -> None:
        _check(explainer, X_test, y_test, names, top, max_rows)
        self.explainer = explainer
        self._figures: tuple[list[Figure], str] = [], ""
        asked = Asked(
            X_test=X_test,
            y_test=y_test,
            X_train=X_train,
            groups=groups,
            agreement=_refits(agreement, X_train is not None),
            names=names,
            top=int(top),
            max_rows=int(max_rows),
            title=title,
        )
        twin = remembering(explainer)
        self._content: Content = content_of(study_of(twin), asked)
        self._to_draw = twin if figures else None  # its answers, until they are drawn

    @property
    def rows(self) -> Any:
        """The results for all training rows.

        Returns
        -------
        rows : pandas DataFrame, or dict of ndarray without pandas
            One column per result, of length n_train; the index is ``train_index_``.
        """
        columns = dict(self._content.columns)
        try:
            import pandas as pd
        except ImportError:
            return columns
        return pd.DataFrame(columns, index=self.explainer.train_index_)

    def to_dict(self) -> dict[str, Any]:
        """Everything on the page, as plain Python objects.

        Returns
        -------
        content : dict
            "model", "health" (a list of value, verdict, threshold and meaning), "scores",
            "effect", "most_harmful", "most_helpful", "suspects", "groups", "agreement",
            "columns" (the meaning of each column), "summary" (quantiles over all rows),
            "rows" (indices of the rows in the table, and their columns), "notes",
            "versions". NaN and infinity are None.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> from skinfluence import InfluenceReport
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> report = InfluenceReport(explainer, X[300:], y[300:], figures=False)
        >>> worst = report.to_dict()["most_harmful"][0]
        >>> worst["row"], worst["loo_delta"] < 0 < worst["influence"]
        (37, True)
        """
        return plain(self._content.as_dict())

    def json(self) -> str:
        """The same as strict JSON.

        Returns
        -------
        text : str
            JSON without NaN.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> from skinfluence import InfluenceReport
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> report = InfluenceReport(explainer, X[300:], y[300:], figures=False)
        >>> import json
        >>> json.loads(report.json()) == report.to_dict()
        True
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def html(self) -> str:
        """The page.

        Returns
        -------
        html : str
            A complete document that loads nothing.

        Raises
        ------
        MissingDependencyError
            If jinja2 is not installed.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> from skinfluence import InfluenceReport
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> report = InfluenceReport(explainer, X[300:], y[300:], figures=False)
        >>> "<script src" in report.html()  # nothing is loaded
        False
        """
        return page(self._content, *self._drawn())

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file.

        Parameters
        ----------
        path : str or path-like
            The file to write; an existing one is replaced.

        Returns
        -------
        path : pathlib.Path
            The file.

        Raises
        ------
        MissingDependencyError
            If jinja2 is not installed.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> from skinfluence import InfluenceReport
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> report = InfluenceReport(explainer, X[300:], y[300:], figures=False)
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = report.write_html(Path(folder) / "report.html")
        ...     size = path.stat().st_size
        >>> size < 5_000_000
        True
        """
        path = Path(path)
        path.write_text(self.html(), encoding="utf-8")
        return path

    def open(self) -> Path:
        """Write the page to a temporary file and show it in the browser.

        Returns
        -------
        path : pathlib.Path
            The file; it is not deleted.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from skinfluence import InfluenceExplainer
        >>> X, y = load_diabetes(return_X_y=True)
        >>> from skinfluence import InfluenceReport
        >>> explainer = InfluenceExplainer(Ridge(alpha=0.1)).fit(X[:300], y[:300])
        >>> report = InfluenceReport(explainer, X[300:], y[300:], figures=False)
        >>> report.open()  # doctest: +SKIP
        """
        folder = Path(tempfile.mkdtemp(prefix="skinfluence-"))
        path = self.write_html(folder / "report.html")
        webbrowser.open(path.as_uri())
        return path

    def _repr_html_(self) -> str | None:
        return fragment(self._content)

    def __repr__(self) -> str:
        model = self._content.model
        return (
            f"<InfluenceReport of {model['estimator']}, {model['n_train']:,} rows: "
            "write_html(path), open(), rows, to_dict()>"
        )

    def _drawn(self) -> tuple[list[Figure], str]:
        """The figures, drawn once, and why there are none or fewer."""
        if self._to_draw is not None:
            self._figures = figures_of(self._to_draw, self._content)
            self._to_draw = None
        return self._figures


def _check(
    explainer: Any, X_test: Any, y_test: Any, names: Any, top: int, max_rows: int
) -> None:
    if not isinstance(explainer, InfluenceExplainer):
        raise InvalidParameterError(
            "InfluenceReport is about a fitted InfluenceExplainer; got "
            f"{type(explainer).__name__}. Use InfluenceExplainer(estimator).fit(X, y)."
        )
    study_of(explainer)  # refuses one that is not fitted
    if (X_test is None) != (y_test is None):
        given, missing = "X_test", "y_test"
        if X_test is None:
            given, missing = missing, given
        raise InvalidDataError(
            f"{given} was given without {missing}: rows are ranked by what they do to "
            "the loss of test rows, which needs both. Give both or neither."
        )
    if names is not None and len(names) != explainer.n_train_:
        raise InvalidParameterError(
            f"names must hold one name for each of the {explainer.n_train_} training "
            f"rows; got {len(names)}."
        )
    checks.at_least("top", top, 1, Integral)
    checks.at_least("max_rows", max_rows, 1, Integral)


def _refits(agreement: Any, has_rows: bool) -> Bunch | int:
    """A Bunch as given, or the number of refits to make."""
    if isinstance(agreement, str) and agreement == "auto":
        return _REFITS if has_rows else 0
    if hasattr(agreement, "pearson") and hasattr(agreement, "refit"):
        return agreement
    if agreement is None:
        return 0
    if isinstance(agreement, Integral) and not isinstance(agreement, bool):
        checks.at_least("agreement", agreement, 0, Integral)
        if agreement and not has_rows:
            raise InvalidParameterError(
                "agreement asks for refits, which need the training rows: give X_train, "
                "or the result of check_leave_one_out."
            )
        return int(agreement)
    raise InvalidParameterError(
        "agreement must be 'auto', a number of rows to refit without, or the result of "
        f"check_leave_one_out; got {type(agreement).__name__}."
    )
