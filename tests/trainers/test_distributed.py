"""Two processes that train together give what one process gives, and go on from one checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.trainers.small_training import Net, loss, points, trained, validation
from torch import Tensor, nn

from graft.trainers.checkpoints import NAME
from graft.trainers.loop import Hooks, RateGroup, Rates, TrainingRun
from graft.trainers.recipe import Recipe

# Warnings are errors here too: what accelerate has to say of environment variables must not come through. One launch does everything, for
# starting three processes takes longer than all the rest.
PROGRAM = """
    import json, os, warnings
    warnings.simplefilter("error")
    import torch
    from pathlib import Path
    from safetensors.torch import save_file
    from tests.trainers.small_training import loss
    from tests.trainers.test_distributed import one, stopped_after

    rank = int(os.environ["RANK"])
    runs = []
    def noted(net, run):
        save_file(net.state_dict(), f"{len(runs)}-{rank}.safetensors")
        losses = [[r.loss, r.validation_loss] for r in run.epochs]
        runs.append([run.batch, run.accumulate, run.steps, losses, run.resumed])
    noted(*one())
    assert torch.distributed.get_backend() == "gloo"
    try:
        one(Path("checkpoint", "checkpoint.safetensors"), stopped_after(9))
        raise AssertionError("it was not stopped")
    except KeyboardInterrupt:
        pass
    noted(*one(Path("checkpoint", "checkpoint.safetensors")))
    Path(f"{rank}.json").write_text(json.dumps([torch.distributed.get_world_size(), runs]))
    torch.distributed.destroy_process_group()
    """


def stopped_after(count: int) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    """A loss that is interrupted at that call."""
    calls = iter(range(1000))

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if next(calls) == count:
            raise KeyboardInterrupt
        return loss(model, batch)

    return objective


def one(checkpoint: Path | None = None, objective: Any = loss) -> tuple[Net, TrainingRun]:
    """A training with everything: unequal shares of the rows (41 items by 7), a penalty, a group that waits, patience."""
    net, feed = Net(plain=True), points(41)
    groups = Rates(
        (
            RateGroup("lower", list(net.lower.parameters()), 0.02, 1.0),
            RateGroup("upper", list(net.upper.parameters()), 0.05, decay=0.1),
        )
    )
    hooks = Hooks(penalty=lambda: 0.01 * net.upper.weight.square().sum(), checkpoint=checkpoint, every=0.0)
    recipe = Recipe(epochs=3, batch=7, accumulate=2, ema=0.9, patience=2)
    more: dict[str, Any] = {"evaluate": validation(feed), "hooks": hooks, "objective": objective}
    return trained(net, recipe, feed=feed, rates=groups, **more)


def test_two_processes_give_what_one_gives_and_go_on_from_one_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "GRAFT_THREADS": "1", "OMP_NUM_THREADS": "1", "GRAFT_DEVICE": "cpu"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "program.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    net, run = one()
    before = Net(plain=True)
    assert all(not torch.equal(a, b) for a, b in zip(net.parameters(), before.parameters(), strict=True))
    for rank in (0, 1):
        world, runs = json.loads((tmp_path / f"{rank}.json").read_text())
        assert world == 2
        for number, (batch, accumulate, steps, losses, resumed) in enumerate(runs):
            assert (batch, accumulate, steps, resumed) == (4, 2, run.steps, number == 1)
            expected = [[record.loss, record.validation_loss] for record in run.epochs]
            for got, wanted in zip(losses, expected, strict=True):
                assert got == pytest.approx(wanted, rel=1e-5)
            for name, tensor in load_file(tmp_path / f"{number}-{rank}.safetensors").items():
                torch.testing.assert_close(tensor, net.state_dict()[name], rtol=1e-5, atol=1e-6)
    kept = [(tmp_path / f"{number}-{rank}.safetensors").read_bytes() for number in (0, 1) for rank in (0, 1)]
    assert len(set(kept)) == 1  # to the bit, over both processes, and stopped or not
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == [NAME]
