"""One training on several devices: who am I, and what is my share of the batch."""

import os

import torch
from torch import distributed


def start(device):
    """Join the group that torchrun has set up, if it has; returns this process's device.

    Args:
        device: "auto", or a name such as "cpu", "cuda" or "mps".

    Raises:
        ValueError: this machine has no such device.
    """
    kind = fastest() if device == "auto" else device
    if kind == "cuda" and "LOCAL_RANK" in os.environ:
        kind = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        torch.empty(0, device=kind)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no device {kind!r} here ({reason}); try auto or cpu") from error
    if "LOCAL_RANK" in os.environ and not distributed.is_initialized():
        if kind.startswith("cuda"):
            torch.cuda.set_device(kind)
        distributed.init_process_group("nccl" if kind.startswith("cuda") else "gloo")
    return torch.device(kind)


def stop():
    """Leave the group, if this process is in one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def fastest():
    """The fastest kind of device that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def rank():
    """The number of this process, from 0; 0 when it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world():
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def leader_first(make):
    """Call a function in each machine's first process, and then in the others.

    For what the first one leaves on the disk, a download for one.
    """
    leads = os.environ.get("LOCAL_RANK", "0") == "0"
    made = make() if leads else None
    if world() > 1:
        distributed.barrier()
    return made if leads else make()


def same_for_all(tensor):
    """The tensor of process 0, in every process."""
    if world() > 1:
        distributed.broadcast(tensor, 0)
    return tensor


def from_first(make):
    """What a function returns in process 0, in every process."""
    made = [make() if rank() == 0 else None]
    if world() > 1:
        distributed.broadcast_object_list(made, 0)
    return made[0]


def share(index):
    """This process's part of a batch, and what its mean loss has to be multiplied with.

    Gradients are averaged over processes. With these factors the average is the
    gradient of the whole batch's mean loss, also when the parts differ in size.
    """
    part = index.tensor_split(world())[rank()]
    if len(part) == 0:  # fewer images than processes: take part, but weigh nothing
        return index[:1], 0.0
    return part, len(part) * world() / len(index)


def mean(tensor):
    """The mean of a tensor over the processes, the same in all of them."""
    if world() > 1:
        distributed.all_reduce(tensor)
        tensor = tensor / world()
    return tensor


def gather(thing):
    """The thing of every process, in a list."""
    if world() == 1:
        return [thing]
    things = [None] * world()
    distributed.all_gather_object(things, thing)
    return things
