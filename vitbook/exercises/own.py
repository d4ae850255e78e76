"""Your own Vision Transformer: what passed its check is kept, and put together.

``check`` writes what is right into my_vit.py, beside your notebook. :func:`assemble` builds a
model out of it and takes from the package what is still missing; :func:`trial` trains a layer
of yours on a task that nobody solves without looking in the right place.
"""

import re
import runpy
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vitbook.attention import MultiHeadSelfAttention, attention
from vitbook.embeddings import Embeddings, PatchEmbedding
from vitbook.encoder import MLP, DropPath, EncoderBlock
from vitbook.exercises.sources import GIVEN, file_lines, source_of
from vitbook.exercises.task import Task
from vitbook.exercises.tasks import TASKS, of_chapter
from vitbook.vit import VisionTransformer

FILE = "my_vit.py"
MARK = re.compile(r"^# ---- ([\d.]+) (.*?) ----$", re.M)


# The file ------------------------------------------------------------------------------------


def keep(task, answer, path=FILE):
    """Write a right answer into the file, in the place of an earlier one; gives its source.

    Only what was typed into a notebook is kept, and no solution of ours.
    """
    typed = getattr(answer, "__module__", "") == "__main__"
    source = source_of(answer) if callable(answer) else None
    if not typed or not source or "# @title Solution" in file_lines(answer):
        return ""
    write(kept(path) | {task.number: (task.title, f"{task.names}\n{source}".strip())}, path)
    return source


def write(sections, path):
    """Write the file: {number: (title, source)}, in the order of the book."""
    ordered = sorted(sections.items(), key=lambda item: [int(n) for n in item[0].split(".")])
    text = "".join(f"\n\n# ---- {n} {title} ----\n{code}\n" for n, (title, code) in ordered)
    head = '"""My own Vision Transformer, from the exercises of vitbook."""\n\n'
    Path(path).write_text(head + GIVEN + text, encoding="utf-8")


def kept(path=FILE):
    """What the file holds: {number: (title, source)}."""
    return sections_of(Path(path).read_text("utf-8")) if Path(path).exists() else {}


def sections_of(text):
    """The same of a file's text."""
    _, *pieces = MARK.split(text)
    return {
        number: (title, code.strip())
        for number, title, code in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
    }


def parts(path=FILE):
    """The parts of a model that the file holds: {part: function or class}."""
    numbers = kept(path)
    names = runpy.run_path(str(path)) if numbers else {}
    written = (TASKS[number] for number in numbers if number in TASKS)
    return {task.part: names[task.name] for task in written if task.part}


def progress(path=FILE):
    """Print how far you are: per chapter, how much there is to write, and how much is kept."""
    done = kept(path)
    print("chapter  to write  kept")
    for chapter in sorted({number.split(".")[0] for number in TASKS}):
        here = [task.number for task in of_chapter(chapter) if type(task) is Task]
        print(f"{chapter:>7}  {len(here):>8}  {sum(n in done for n in here):>4}")
    print(f"{'all':>7}  {sum(type(t) is Task for t in TASKS.values()):>8}  {len(done):>4}")
    if done and in_colab():
        print("Colab forgets my_vit.py when you leave: download() it; next time, upload() it.")


def download(path=FILE):
    """In Colab, let the browser download the file, before Colab forgets it."""
    if not Path(path).exists():
        print(f"There is no {path} yet; the first answer that check calls right begins it.")
        return
    if in_colab():
        from google.colab import files

        files.download(str(path))
    print(f"{path} holds {len(kept(path))} answers, in {Path(path).resolve().parent}")


def upload(path=FILE):
    """In Colab, ask for a file that was downloaded, and add its answers to those of today.

    Where both answer a task, today's stays.
    """
    if not in_colab():
        print(f"Elsewhere than in Colab, put {path} beside your notebook.")
        return
    from google.colab import files

    for name, content in files.upload().items():
        found = sections_of(content.decode("utf-8", "replace"))
        if not found:
            print(f"{name} holds no answers; the file wanted is {path}, as download() gave it.")
            continue
        write(found | kept(path), path)
        print(f"{len(found)} answers read from {name}; {path} now holds {len(kept(path))}.")


def in_colab():
    """Whether Colab runs this."""
    return "google.colab" in sys.modules


# The model -----------------------------------------------------------------------------------


def assemble(config, path=FILE):
    """A Vision Transformer out of your parts; it prints which are yours and which are not.

    Args:
        config: a :class:`vitbook.ViTConfig`. What the tasks leave out it must not ask for:
            dropout, attention without biases.
        path: the file that holds your parts.

    Returns:
        The model, with the weights that the package's would begin with.
    """
    mine, model = parts(path), VisionTransformer(config)
    for part, (kind, made) in PLACES.items():
        if part in mine:
            replace(model, kind, made, mine)
    print("yours:", ", ".join(p for p in PLACES if p in mine) or "nothing yet")
    print("the package's:", ", ".join(p for p in PLACES if p not in mine) or "nothing")
    return model


def replace(model, kind, made, mine):
    """Put ``made(old, mine)`` in the place of every module of a kind, with its weights."""
    for parent in list(model.modules()):
        for name, old in list(parent.named_children()):
            if type(old) is kind:
                new = made(old, mine)
                new.load_state_dict(old.state_dict())
                setattr(parent, name, new)


class MyAttention(MultiHeadSelfAttention):
    """Heads split, looked and joined by what the reader wrote of it."""

    def __init__(self, old, mine):
        super().__init__(old.out.in_features, old.heads)
        self.mine = mine

    def forward(self, x):
        split = self.mine.get("split_heads", default_split)
        look = self.mine.get("attention", attention)
        join = self.mine.get("join_heads", default_join)
        q, k, v = (split(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        output, weights = look(q, k, v)
        if self.record is not None:
            self.record(weights)
        return self.out(join(output))


def default_split(x, heads):
    """The package's way, where the reader has none."""
    return rearrange(x, "b n (heads d) -> b heads n d", heads=heads)


def default_join(x):
    """The package's way, where the reader has none."""
    return rearrange(x, "b heads n d -> b n (heads d)")


class MyLayerNorm(nn.LayerNorm):
    """The reader's function, with the weights of the layer that it replaces."""

    def __init__(self, old, mine):
        super().__init__(old.normalized_shape, eps=old.eps)
        self.mine = mine["layer_norm"]

    def forward(self, x):
        return self.mine(x, self.weight, self.bias, self.eps)


class MyDropPath(DropPath):
    """The reader's function, with dice drawn while training."""

    def __init__(self, old, mine):
        super().__init__(old.rate)
        self.mine = mine["drop_path"]

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        return self.mine(x, self.rate, torch.rand(len(x), device=x.device))


class MyEmbeddings(Embeddings):
    """The class token put in front by the reader's function."""

    def __init__(self, old, mine):
        nn.Module.__init__(self)
        self.patches, self.class_token = old.patches, old.class_token
        self.position = old.position
        self.mine = mine["class_token"]

    def forward(self, images):
        tokens = self.patches(images)
        if self.class_token is not None:
            tokens = self.mine(tokens, self.class_token)
        return tokens + self.position


def my_patches(old, mine):
    """The reader's projection."""
    channels = old.projection.in_features // old.patch_size**2
    return mine["patch_projection"](old.patch_size, channels, old.projection.out_features)


def my_mlp(old, mine):
    """The reader's MLP."""
    return mine["mlp"](old.fc1.in_features, old.fc1.out_features)


def my_self_attention(old, mine):
    """The reader's whole layer of attention."""
    return mine["self_attention"](old.out.in_features, old.heads)


def my_block(old, mine):
    """The reader's block around the parts that stand there already."""
    (dim,) = old.norm1.normalized_shape
    new = mine["block"](dim, 1, dim)  # whose parts then give way to those that are there
    for name, child in old.named_children():
        setattr(new, name, child)
    return new


# {part: (what of the package it replaces, how it is made)}; a part of a part comes first.
PLACES = {
    "attention": (MultiHeadSelfAttention, MyAttention),
    "split_heads": (MultiHeadSelfAttention, MyAttention),
    "join_heads": (MultiHeadSelfAttention, MyAttention),
    "self_attention": (MultiHeadSelfAttention, my_self_attention),
    "mlp": (MLP, my_mlp),
    "layer_norm": (nn.LayerNorm, MyLayerNorm),
    "drop_path": (DropPath, MyDropPath),
    "patch_projection": (PatchEmbedding, my_patches),
    "class_token": (Embeddings, MyEmbeddings),
    "block": (EncoderBlock, my_block),
}


# A trial -------------------------------------------------------------------------------------

PEOPLE, COLOURS, WIDTH, HEADS = 9, 4, 32, 2
STEPS = (60, 300)  # early, layers that compute otherwise differ most; late, most have arrived


def room(images, dice):
    """Chapter 3's rooms: everyone has a name, a wish, and a note in one of four colours.

    Returns:
        what each says, (room, person, 2 · people + colours), and the colour of the note that
        each wishes to hear, (room, person).
    """
    name = torch.stack([torch.randperm(PEOPLE, generator=dice) for _ in range(images)])
    wish = torch.randint(PEOPLE, (images, PEOPLE), generator=dice)
    note = torch.randint(COLOURS, (images, PEOPLE), generator=dice)
    parts = ((name, PEOPLE), (wish, PEOPLE), (note, COLOURS))
    said = torch.cat([F.one_hot(part, count) for part, count in parts], dim=-1)
    whom = (name[:, None, :] == wish[:, :, None]).int().argmax(dim=-1)
    return said.float(), note.gather(1, whom)


class Listener(nn.Module):
    """A layer between two linear ones, as a Transformer holds it."""

    def __init__(self, layer):
        super().__init__()
        self.enter = nn.Linear(2 * PEOPLE + COLOURS, WIDTH)
        self.layer = layer
        self.leave = nn.Linear(WIDTH, COLOURS)

    def forward(self, said):
        tokens = self.enter(said)
        return self.leave(tokens + self.layer(tokens))


def trial(layer, seed=0):
    """Train a layer of yours for some seconds: does it look where it should?

    Two layers that compute the same, from the same weights, learn alike. So compare with the
    package's number, not with 100%: most wrong layers learn the task, too, in their own time.

    Args:
        layer: a class, called with (dim, heads), or a function of q, k and v that gives output
            and weights.
        seed: of the weights and of the rooms.

    Returns:
        A sentence: the share of right answers in rooms never seen.
    """
    yours, ours = (taught(make, seed) for make in (as_layer(layer), MultiHeadSelfAttention))
    pairs = zip(STEPS, yours, ours, strict=True)
    told = (f"after {k} steps yours {a:.0%}, the package's {b:.0%}" for k, a, b in pairs)
    alike = all(abs(a - b) < 0.03 for a, b in zip(yours, ours, strict=True))
    end = "They learn alike." if alike else "Yours computes something else."
    return f"{'; '.join(told)}. {end}"


def as_layer(layer):
    """A class of layers; a function attends in a layer of ours."""
    if isinstance(layer, type):
        return layer
    look = {"attention": layer}
    return lambda dim, heads: MyAttention(MultiHeadSelfAttention(dim, heads), look)


def taught(make, seed):
    """The accuracies of a layer after each of STEPS."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, dice = Listener(make(WIDTH, HEADS)), torch.Generator().manual_seed(seed)
        optimizer, found = torch.optim.AdamW(model.parameters(), lr=0.005), []
        unseen, wanted = room(300, torch.Generator().manual_seed(seed + 1))
        for step in range(1, STEPS[-1] + 1):
            said, heard = room(64, dice)
            optimizer.zero_grad()
            F.cross_entropy(model(said).flatten(0, 1), heard.flatten()).backward()
            optimizer.step()
            if step in STEPS:
                with torch.no_grad():
                    found.append((model(unseen).argmax(-1) == wanted).float().mean().item())
        return found
