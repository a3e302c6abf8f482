"""`graft reproduce`: run a recorded result again from its record, and say whether it came out the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from graft.fitting.reproduction import Reproduction


def reproduce(
    result: Annotated[str | Path, "Folder that fit, tune, pretrain or recommend fit wrote, or its result.json."],
    *,
    out: Annotated[
        Path | str | None, "Folder for the new result, which must not exist. Default: graft-out/NAME-again."
    ] = None,
) -> Reproduction:
    """Run a recorded result again from its record, and say whether it came out the same.

    The recorded command is run anew in a process of its own; every value, the split and every weight are compared. Where something
    differs, what else differs on record is named: versions, processor, threads, data, encoder. What a time budget let run the
    first time is on record and is run again, however fast the machine is now.

    Raises MissingError when there is no result, ModelError when it is not one of a command that can be run again, and what that
    command itself raises, such as DataError when its data have gone.
    """
    from graft.fitting.reproduction import Reproduction, again, compared, recorded, verdict
    from graft.fitting.session import free_folder

    was, tree = recorded(Path(result).expanduser())
    now = free_folder(None if out is None else Path(out), f"{tree.get('name') or was.name}-again")
    seconds = again(tree["command"], now)
    count, differences, causes = compared(was, now)
    found, why = verdict(was, now, differences, causes)
    return Reproduction(
        name=str(tree.get("name") or was.name),
        verdict=found,
        why=why,
        command=tree["command"],
        compared=count,
        differences=differences,
        causes=causes,
        out=str(now),
        seconds=seconds,
    )
