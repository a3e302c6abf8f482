"""A contact sheet: the answer to one search as an HTML page that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from graft.data.dataset import source_of
from graft.data.images import UnreadableImage, decode, thumbnail_uri
from graft.reports.build import html_page
from graft.search_results import Hit, SearchResult

SIDE = 240  # pixels of a picture on the page


@dataclass(frozen=True)
class Card:
    """One hit as it is shown; `picture` is a data URI or empty."""

    hit: Hit
    picture: str
    text: str


def contact_sheet(result: SearchResult, *, pictures: bool) -> str:
    """The page, with the hits' pictures inside where the items are `pictures`; one that is no longer there is named instead."""
    cards = [Card(hit, _picture(hit) if pictures else "", "" if pictures else hit.content) for hit in result.hits]
    return html_page("contact.html", result=result, cards=cards, pictures=pictures)


def _picture(hit: Hit) -> str:
    from markupsafe import Markup  # texts are cut to a length; this one is ours, and whole

    try:
        return Markup.escape(thumbnail_uri(decode(source_of(hit.content).read_bytes()), SIDE))
    except (OSError, KeyError, ValueError, UnreadableImage):
        return ""
