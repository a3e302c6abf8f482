"""Which items a condition such as `category = 'Comedy' AND date > 2000-01-01` allows.

Legend: I items.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError
from graft.interactions.likes import Catalogue
from graft.store.collection import reason

EXAMPLES = "Examples: title LIKE '%(1995)', array_has(categories, 'Comedy'), date > 946684800 (seconds since 1970)."


class Conditions:
    """Items as a table in memory that conditions are asked of, in the language of a search's `where`: Lance reads both."""

    def __init__(self, ids: tuple[str, ...], catalogue: Catalogue) -> None:
        import lance
        import pyarrow as pa

        columns: dict[str, Any] = {
            "graft_row": pa.array(np.arange(len(ids))),
            "id": pa.array(ids, pa.string()),
            "title": pa.array(catalogue.titles, pa.string()),
            "categories": pa.array([list(names) for names in catalogue.categories], pa.list_(pa.string())),
        }
        if catalogue.texts is not None:
            columns["text"] = pa.array(catalogue.texts, pa.string())
        if catalogue.dates is not None:
            columns["date"] = pa.array(catalogue.dates, pa.float64(), mask=np.isnan(catalogue.dates))
        self._known = ", ".join(name for name in columns if name != "graft_row")
        self._items, self._count = lance.write_dataset(pa.table(columns), "memory://"), len(ids)

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Mask (I,) of the items for which the SQL condition holds. Raises UsageError for one that cannot be understood."""
        if not where.strip():
            raise UsageError(f"The filter is empty. {EXAMPLES}")
        if ";" in re.sub(r"'[^']*'", "", where):  # Lance would leave out what follows without a word
            raise UsageError(f"The filter {where!r} must be one condition, without a semicolon. {EXAMPLES}")
        try:
            found = self._items.to_table(columns=["graft_row"], filter=where)
        except (ValueError, OSError) as error:
            raise UsageError(
                f"The filter {where!r} cannot be used: {reason(error)}. Columns: {self._known}. {EXAMPLES}"
            ) from error
        mask = np.zeros(self._count, bool)
        mask[found["graft_row"].to_numpy()] = True
        return mask
