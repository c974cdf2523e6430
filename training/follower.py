"""What the processes of a training do that do not lead it: ranks above 0."""

from __future__ import annotations

from training.data.photos import Photos
from training.distributed import Command, gather_generators, receive_command
from training.phases.joint import joint_step
from training.phases.sharpen import share_degradation
from training.phases.sr import sr_step
from training.progress import Stopped
from training.state import TrainState


def follow(state: TrainState, lr_photos: Photos, hr_photos: Photos) -> None:
    """Obeys rank 0's commands until it finishes the training. Raises Stopped if rank 0 ends it otherwise.

    The fit and match phases need no commands: they have small networks and long batches of CPU work, so rank 0 runs
    them alone.
    """
    while True:
        command, progress = receive_command()
        match command:
            case Command.JOINT_STEP:
                joint_step(state, lr_photos, hr_photos, progress)
                state.step += 1
            case Command.SR_STEP:
                sr_step(state, hr_photos, progress)
                state.step += 1
            case Command.TAKE_DEGRADATION:
                share_degradation(state)
            case Command.SEND_GENERATORS:
                gather_generators(state.generators)
            case Command.FINISH:
                return
            case Command.STOP:
                raise Stopped
