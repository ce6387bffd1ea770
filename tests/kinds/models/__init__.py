"""Actors of every kind of model: `links` for threads and databases, `keys` for primary keys, `fields` for columns."""

from tests.kinds.models.fields import (
    Album,
    Clock,
    Colour,
    Deal,
    DealLog,
    Document,
    Folder,
    Owner,
    Papers,
    Plant,
    Priced,
    Shop,
    Visit,
)
from tests.kinds.models.keys import Badge, ByAuto, ByCode, ByOwner, ByText, ByUuid, Person
from tests.kinds.models.links import Far, FreeLink, Hold, Link, Near, Note, Remark
from tests.kinds.models.views import Bid, Bidder, Sparse

__all__ = [
    "Album",
    "Badge",
    "Bid",
    "Bidder",
    "ByAuto",
    "ByCode",
    "ByOwner",
    "ByText",
    "ByUuid",
    "Clock",
    "Colour",
    "Deal",
    "DealLog",
    "Document",
    "Far",
    "Folder",
    "FreeLink",
    "Hold",
    "Link",
    "Near",
    "Note",
    "Owner",
    "Papers",
    "Person",
    "Plant",
    "Priced",
    "Remark",
    "Shop",
    "Sparse",
    "Visit",
]
