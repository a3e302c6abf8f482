"""A report as one HTML file that needs nothing else: no network, no fonts, no library; its pictures are inside."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.label_curve import CurveResult
from graft.reports import formats
from graft.reports.charts import reliabilities, time_parts
from graft.reports.confusion import confusion_view
from graft.reports.curve import curve_view, gained, told, told_first, twice
from graft.reports.ladder import foretold, ladder
from graft.reports.training import trained
from graft.reports.vector_map import vector_map
from graft.reports.verdict import class_cases, doubts, verdict, worst_first
from graft.results import Evidence, FitResult

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_TEXT = 300  # letters of any one text that came with the data: a label or a cell may hold megabytes
LONGEST_SAYING = 1_500  # of our own sentences, which quote such texts
LARGEST_PICTURE = 8_000  # letters of one picture's data URI; some 240 are shown beside the map


def fit_report(result: FitResult, evidence: Evidence) -> str:
    """The report of a fit: one HTML page below 5 MB at any size of data, readable offline, on a phone and on paper."""
    return html_page(
        "fit.html",
        result=result,
        evidence=evidence,
        verdict=verdict(result),
        ladder=ladder(result),
        trained=trained(result),
        confusion=confusion_view(result.confusion) if result.confusion else None,
        classes=worst_first(result.per_class),
        cases=class_cases(result, evidence),
        map=vector_map(evidence.map, evidence.map_method, result.per_class),
        reliabilities=reliabilities(result.calibration) if result.calibration else (),
        doubts=doubts(result, evidence),
        times=time_parts(result.seconds),
        curve=result.labels,
        picture=curve_view(result.labels) if result.labels else None,
        told=told,
        foretold=foretold,
        gained=gained,
        twice=twice(result.labels) if result.labels else "",
    )


def curve_report(result: CurveResult) -> str:
    """The report of a learning curve by itself."""
    return html_page(
        "curve_page.html",
        result=result,
        curve=result.curve,
        picture=curve_view(result.curve),
        told=told,
        gained=gained,
        twice="",
        headline=twice(result.curve) or told_first(result.curve),
        times=time_parts(result.seconds),
    )


def html_page(template: str, *, style: str = "", script: str = "report.js", **values: Any) -> str:
    """A template filled in. `style` names a sheet that joins the one of all pages, `script` the page's only script; both lie beside the template."""
    from markupsafe import Markup

    filling = _environment().get_template(template)
    sheets = [(TEMPLATES / name).read_text("utf-8") for name in ("style.css", style) if name]
    code = (TEMPLATES / script).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    page = filling.render(style=Markup("".join(sheets)), script=Markup(code), script_digest=digest, **values)
    return page.encode("utf-8", "replace").decode("utf-8")  # a file name may hold bytes that are no letters


@functools.cache  # a process that writes many reports compiles each template once
def _environment() -> Environment:
    """Templates that escape and shorten every text, and the filters that write numbers."""
    import jinja2
    from markupsafe import Markup

    def shortened(value: Any) -> Any:
        return formats.cut(value, LONGEST_TEXT) if isinstance(value, str) and not isinstance(value, Markup) else value

    def breakable(text: str) -> Markup:
        return Markup.escape(shortened(text)).replace("_", Markup("_<wbr>"))

    def saying(text: str) -> Markup:
        return Markup.escape(formats.cut(text, LONGEST_SAYING))

    def picture(uri: str) -> Markup:
        return Markup.escape(uri) if uri.startswith("data:image/") and len(uri) <= LARGEST_PICTURE else Markup("")

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=shortened,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    for name in ("percent", "decimal", "count", "seconds", "memory", "cut", "known"):
        environment.filters[name] = getattr(formats, name)
    environment.filters.update(breakable=breakable, picture=picture, saying=saying)
    environment.globals.update(plural=formats.plural)
    return environment
