"""What trained strategies learn from: items as the model takes them, with the vectors the frozen encoder gives.

Pictures are decoded once and kept as bytes, and what the frozen lower part of a body puts out is computed once: both are shared by
all folds, and lie in a file where they are large. Legend: N items, D dims, H W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.batching import ahead, chunks, prepare, read
from graft.data.dataset import Content
from graft.encoders.base import Encoder, Prepared
from graft.errors import DataError
from graft.results import Fault
from graft.store.scratch import ScratchRows

if TYPE_CHECKING:
    from graft.trainers.batches import Prepared as Rows
    from graft.trainers.body import Split

CHUNK = 16  # items a thread prepares at once
FORWARD = 32  # items the lower part of a body takes at once


@dataclass(eq=False)
class Store:
    """What is computed once for all folds, by position in the whole.

    `classes` are the names of the labels, `class_texts` a name or a sentence for each.
    """

    encoder: Encoder
    contents: Sequence[Content]
    classes: tuple[str, ...] = ()
    class_texts: tuple[str, ...] = ()
    prepared: Sequence[Prepared] | NDArray[np.uint8] | None = None
    named: Items | None = None
    activations: dict[int, Sequence[NDArray[np.float32]] | NDArray[np.float32]] = field(default_factory=dict)
    others: dict[str, Sequence[Prepared] | NDArray[np.uint8]] = field(
        default_factory=dict
    )  # by the fingerprint of another encoder


@dataclass(frozen=True, eq=False)
class Items:
    """N items to tune a body on: `x_ND` are the frozen encoder's vectors; `index` their positions in the shared store."""

    store: Store = field(repr=False)
    x_ND: NDArray[np.float32] = field(repr=False)
    index: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        contents: Sequence[Content],
        x_ND: NDArray[np.float32],
        classes: Sequence[str] = (),
        class_texts: Sequence[str] = (),
    ) -> Items:
        """Items not prepared yet; `x_ND` are their vectors by `encoder`, `classes` the names of their labels, `class_texts` in words."""
        return cls(Store(encoder, contents, tuple(classes), tuple(class_texts)), x_ND, np.arange(len(contents)))

    def alone(self) -> Items:
        """The same items without the others, so that preparing them prepares no more."""
        shared = self.store
        contents = [shared.contents[i] for i in self.index]
        return Items.of(shared.encoder, contents, self.x_ND, shared.classes, shared.class_texts)

    def rewritten(self, texts: Sequence[str]) -> Items:
        """The same items with other texts (N) in the place of theirs, which are prepared anew; vectors and positions stay."""
        contents = list(self.store.contents)
        for position, text in zip(self.index, texts, strict=True):
            contents[position] = text
        shared = self.store
        return replace(self, store=Store(shared.encoder, contents, shared.classes, shared.class_texts))

    def of_classes(self) -> Items | None:
        """The class names as items, where the encoder reads texts."""
        if self.encoder.info.modality != "text" or not self.store.class_texts:
            return None
        if self.store.named is None:
            texts = self.store.class_texts
            self.store.named = Items.of(self.encoder, texts, np.zeros((len(texts), 0), np.float32))
        return self.store.named

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: NDArray[Any]) -> Items:
        """The items at these positions, or where the mask is true."""
        return replace(self, x_ND=self.x_ND[chosen], index=self.index[chosen])

    @property
    def encoder(self) -> Encoder:
        """The encoder whose body is tuned."""
        return self.store.encoder

    def rows(self) -> Rows:
        """As the model takes them. Raises DataError naming pictures that can no longer be read."""
        from graft.trainers.batches import Prepared as Rows

        if self.store.prepared is None:
            self.store.prepared = _prepared(self.store.encoder, self.store.contents)
        return Rows(self.store.prepared, self.encoder.collate).take(self.index)

    def prepared_by(self, encoder: Encoder) -> Rows:
        """As another encoder takes them, such as a small network from scratch."""
        from graft.trainers.batches import Prepared as Rows

        key = encoder.info.fingerprint
        if key not in self.store.others:
            self.store.others[key] = _prepared(encoder, self.store.contents)
        return Rows(self.store.others[key], encoder.collate).take(self.index)

    def vector_rows(self) -> Rows:
        """The frozen vectors alone, as `vectors` of a batch: all that a head needs."""
        from graft.trainers.batches import Prepared as Rows

        return Rows(self.x_ND, lambda rows: {"vectors": np.stack(rows)})

    def activation_rows(self, split: Split, first_trained: int) -> Rows:
        """What the frozen part of the body below `first_trained` puts out, as `activations` of a batch, computed once for all items."""
        from graft.trainers.batches import Prepared as Rows

        if first_trained not in self.store.activations:
            whole = replace(self, index=np.arange(len(self.store.contents)))
            self.store.activations[first_trained] = _activations(whole.rows(), split)
        collate = _collate_states if self.encoder.info.modality == "text" else _collate_maps
        return Rows(self.store.activations[first_trained], collate).take(self.index)


def _prepared(encoder: Encoder, contents: Sequence[Content]) -> Sequence[Prepared] | NDArray[np.uint8]:
    """Token ids of texts, or pictures as bytes (N, 3, H, W)."""
    done: ScratchRows | None = None
    shape: tuple[int, ...] = ()
    texts: list[Prepared] = []
    with ThreadPoolExecutor(settings.threads(), thread_name_prefix="graft-prepare") as pool:
        work = lambda positions: prepare(encoder, [read(i, contents[i]) for i in positions], scaled=False)
        for group in ahead(pool, work, chunks(range(len(contents)), CHUNK), 4):
            for item in group:
                if item.prepared is None:
                    raise DataError(
                        f"An item that was read before can no longer be: {item.problem}.",
                        faults=(Fault(str(contents[item.position]), item.problem),),
                    )
                if item.prepared.ndim == 1:
                    texts.append(item.prepared)
                    continue
                if done is None:
                    shape = item.prepared.shape
                    done = ScratchRows(len(contents), item.prepared.size, settings.cache_dir(), dtype=np.uint8)
                done.set(np.array([item.position]), item.prepared.reshape(1, -1))
            settings.progress("prepare", group[-1].position + 1, len(contents))
    return texts if done is None else done.array.reshape(len(contents), *shape)


def _activations(rows: Rows, split: Split) -> Sequence[NDArray[np.float32]] | NDArray[np.float32]:
    """The lower part's output of every item: states (T, D) of a text without its padding, maps (C, H, W) of a picture."""
    from graft.trainers.networks import at_work

    lengths = rows.sizes() if rows.rows[0].ndim == 1 else None
    order = np.arange(len(rows)) if lengths is None else np.argsort(lengths, kind="stable")
    states: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
    maps: ScratchRows | None = None
    shape: tuple[int, ...] = ()
    with at_work(split.body) as device:
        for start in range(0, len(rows), FORWARD):
            some = order[start : start + FORWARD]
            out = (
                split.lower({name: tensor.to(device) for name, tensor in rows.batch(some).items()})
                .float()
                .cpu()
                .numpy()
            )
            if lengths is not None:
                for place, position in enumerate(some):
                    states[position] = out[place, : lengths[position]].copy()
            else:
                if maps is None:
                    shape = out.shape[1:]
                    maps = ScratchRows(len(rows), int(np.prod(shape)), settings.cache_dir())
                maps.set(some, out.reshape(len(some), -1))
            settings.progress("lower layers", min(start + FORWARD, len(rows)), len(rows))
    return states if maps is None else maps.array.reshape(len(rows), *shape)


def _collate_states(rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Token states padded to the longest, with their mask; the ids are a stand-in, for only their shape is looked at."""
    longest = max(len(row) for row in rows)
    states = np.zeros((len(rows), longest, rows[0].shape[1]), np.float32)
    mask = np.zeros((len(rows), longest), np.int64)
    for place, row in enumerate(rows):
        states[place, : len(row)], mask[place, : len(row)] = row, 1
    return {"activations": states, "attention_mask": mask, "input_ids": np.zeros_like(mask)}


def _collate_maps(rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"activations": np.stack(rows)}
