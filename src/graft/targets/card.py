"""The README of a saved model of numbers, counts, levels or sets of labels."""

from __future__ import annotations

from graft.artifact import MANIFEST, Manifest, plain
from graft.reports.formats import measure_named

DOES = {
    "number": "Answers a number with an interval",
    "count": "Answers a count: its rate, and an interval of whole numbers",
    "ordinal": "Answers one of {n} ordered levels, with a probability for each",
    "multilabel": "Answers any of {n} labels, with a probability for each",
}


def target_card(manifest: Manifest) -> str:
    """What the model is, how good it was measured to be, what it is not for, how to load it."""
    m, data = manifest, manifest.data
    items = {"image": "pictures", "text": "texts"}.get(m.encoder.modality, "items")
    does = DOES[m.task].format(n=len(m.classes))
    parts = [
        f"# {plain(m.name)}",
        f"{does}, for {items}. Made by Graft {m.graft} on {m.created}.",
        "## What it is",
        f"A `{m.strategy}` head on vectors of the pretrained encoder `{m.encoder.reference}` ({m.encoder.dim} numbers an item, fingerprint "
        f"`{m.encoder.fingerprint}`), whose weights were not changed and are not in this folder. Fitted on {data.train:,} items of "
        f'"{plain(data.name)}".',
    ]
    if m.classes:
        shown = ", ".join(plain(name) for name in m.classes[:50])
        parts.append(f"{'Levels, lowest first' if m.task == 'ordinal' else 'Labels'}: {shown}.")
    where = "on test items that took no part in fitting or choosing" if m.measured_on == "test" else "cross-validated"
    parts += ["## How good it is", f"Measured {where}:"]
    parts.append(
        "\n".join(
            f"- {measure_named(name).label}: {of.value:.4g}"
            + (f" ({of.low:.4g} to {of.high:.4g})" if of.low is not None and of.high is not None else "")
            + f", n = {of.n:,}"
            for name, of in m.metrics.items()
        )
    )
    if m.answers.get("reach") is not None:
        parts.append(f"Its intervals are meant to hold the truth of {m.answers['coverage']:.0%} of items.")
    parts += [
        "## Limits",
        "- The figures hold for items drawn like the fitted ones; another camera, writer, time or mixture changes them.\n"
        "- Far from the fitted items an answer is a guess, and its interval does not know it.\n"
        "- What the encoder learned from its own training data, biases included, is in every answer.",
        "## How to use it",
        "    graft predict THIS_FOLDER ITEM...",
        '    import graft\n    model = graft.load("THIS_FOLDER")\n    model.predict([...])',
        f"Both need the same encoder and refuse another one. `{MANIFEST}` holds all of the above and more as JSON.",
    ]
    return "\n\n".join(parts) + "\n"
