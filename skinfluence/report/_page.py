"""The page and the notebook's fragment, from one set of templates."""

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from skinfluence._optional import require
from skinfluence._plain import plain
from skinfluence.exceptions import MissingDependencyError
from skinfluence.report._columns import SIGN
from skinfluence.report._content import QUANTILES, Content
from skinfluence.report._figures import Figure
from skinfluence.report._health import BAD, GOOD, LOOK
from skinfluence.report._text import number, rounded, shown

# Digits of the numbers in the table of rows, and of targets and predictions.
_DIGITS = 4
_TARGET_DIGITS = 6


def page(content: Content, figures: list[Figure], no_figures: str) -> str:
    """The whole document."""
    script = _part("report.js")
    return _template("report.html").render(
        **_variables(content),
        figures=figures,
        no_figures=no_figures,
        style=_safe(_part("report.css") + _part("page.css")),
        script=_safe(script),
        script_hash=_hash(script),
        table=_safe(json_in_html(table_of(content))),
    )


def fragment(content: Content) -> str | None:
    """The notebook's view: no script, styles of its own; None without jinja2."""
    try:
        template = _template("fragment.html")
    except MissingDependencyError:
        return None
    return template.render(**_variables(content), style=_safe(_part("report.css")))


def json_in_html(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can close that."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":  # U+2028 and U+2029 are escaped by ensure_ascii
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def table_of(content: Content) -> dict[str, Any]:
    """The table of rows, column by column, with numbers of few digits."""
    columns = []
    for name, column in content.columns.items():
        label, meaning = content.meaning(name)
        cells = _cells(name, column[content.shown])
        columns.append(dict(name=name, label=label, meaning=meaning, **cells))
    return {"columns": columns, "sort": "loo_delta"}


def _cells(name: str, column: np.ndarray) -> dict[str, Any]:
    """Values as they are, or distinct ones and their codes where that is shorter."""
    if column.dtype.kind == "f":
        short = ("target", "prediction", "loo_prediction")
        digits = _TARGET_DIGITS if name.startswith(short) else _DIGITS
        values = [rounded(value, digits) for value in column.tolist()]
        return {"numeric": True, "values": values}
    numeric = column.dtype.kind in "iu"
    cells = plain(column) if numeric else [shown(value) for value in column]
    distinct = {value: code for code, value in enumerate(dict.fromkeys(cells))}
    if numeric or len(distinct) > len(cells) / 2:
        return {"numeric": numeric, "values": cells}
    codes = [distinct[value] for value in cells]
    return {"numeric": False, "distinct": list(distinct), "values": codes}


def _variables(content: Content) -> dict[str, Any]:
    """The variables of both templates."""
    verdicts = [item["verdict"] for item in content.health]
    loss = f"Without such a row, the mean loss on {content.effect.on}"
    harmful = [content.row(i) for i in content.harmful]
    helpful = [content.row(i) for i in content.helpful]
    lists = [
        ("harmful", "Rows that hurt", f"{loss} falls.", harmful),
        ("helpful", "Rows that help", f"{loss} rises.", helpful),
    ]
    return dict(
        content=content,
        model=content.model,
        sign=SIGN,
        lists=lists,
        suspects=[content.row(i) for i in content.suspects["rows"]],
        columns=[(name, content.meaning(name)) for name in content.columns],
        numeric={
            k for k, column in content.columns.items() if column.dtype.kind in "fiu"
        },
        summary=content.summary,
        quantiles=[_quantile(q) for q in QUANTILES],
        verdicts={verdict: verdicts.count(verdict) for verdict in (GOOD, LOOK, BAD)},
    )


def _quantile(q: float) -> str:
    return {0.0: "least", 0.5: "median", 1.0: "largest"}.get(q, f"{q:.0%}")


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return base64.b64encode(digest).decode()


def _part(name: str) -> str:
    place = resources.files("skinfluence.report") / "page" / name
    return place.read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    instead = " Without it, to_dict(), json() and rows hold the same."
    jinja2 = require("jinja2", "A report as HTML", "report", instead)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown=shown, number=number)
    return environment


def _template(name: str) -> Any:
    return _environment().get_template(name)
