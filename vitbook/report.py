"""One training as one page: HTML that holds all it shows, and asks no other host for anything.

What a run has not kept cannot be shown; the page says so in the place where it would stand.
"""

import base64
import csv
import io
import json
from html import escape
from importlib.resources import files
from pathlib import Path

import torch

from vitbook.data import normalize, pictures
from vitbook.explain import class_token_map, record_attention, rollout
from vitbook.training.engine import write_whole
from vitbook.training.loop import predict
from vitbook.training.recipes import read_data, read_recipe
from vitbook.training.weights import for_predict, load_weights, read_header

BLUE, ORANGE = "#0072B2", "#D55E00"
MISTAKES = 12  # shown as pictures
WIDEST = 25  # classes in a confusion matrix that can still be read
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ color: #111; background: #fff }}
@media (prefers-color-scheme: dark) {{ body {{ color: #eee; background: #121212 }} }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .15rem .5rem; text-align: right; font-weight: normal }}
td {{ border: 1px solid color-mix(in srgb, currentColor 25%, transparent) }}
tr > th:first-child {{ text-align: left }}
thead th:not(:first-child) {{ writing-mode: vertical-rl; text-align: left; padding: .5rem 0 }}
.scroll {{ overflow-x: auto }}
.mistakes {{ display: flex; flex-wrap: wrap; gap: 1rem }}
figure {{ margin: 0 }}
.mistakes img {{ width: 7rem; image-rendering: pixelated }}
.paper {{ background: #fff; max-width: 100%; overflow-x: auto }}
pre {{ overflow-x: auto }}
</style></head><body><main>
<h1>{title}</h1>
{body}
</main></body></html>
"""


def report(run, out=None, weights=None, source=None, device="cpu", show=True):
    """Write the page of a run.

    Args:
        run: the folder that ``train`` has left, or the name of a recorded run such as
            "cifar10-cpu/seed0".
        out: path of the page; by default ``report.html`` in the folder, or
            ``report-NAME-seedK.html`` here for a recorded run.
        weights: a file of weights; by default the final ones in the folder.
        source: the data, where it has moved since; by default what the run says.
        device: to compute on.
        show: whether pictures are put into the page: it will travel.

    Returns:
        The path of the page.

    Raises:
        ValueError: there is no run of this name.
        OSError: the page cannot be written.
    """
    folder, recorded = Path(run), files("vitbook") / "runs" / str(run)
    if not (folder / "history.csv").is_file() and (recorded / "history.csv").is_file():
        folder, out = Path(str(recorded)), out or f"report-{str(run).replace('/', '-')}.html"
    if not all((folder / name).is_file() for name in ("config.yaml", "history.csv")):
        raise ValueError(
            f"{run} holds no run: expected a folder with config.yaml and history.csv, as train "
            "leaves it after its first epoch"
        )
    recipe = read_recipe(str(folder / "config.yaml"))
    recipe = recipe._replace(data=source or recipe.data)
    weights = weights or folder / f"{recipe.name}.safetensors"
    settings = escape((folder / "config.yaml").read_text("utf-8"))
    path = folder / "summary.json"
    summary = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    rows = list(csv.DictReader((folder / "history.csv").read_text("utf-8").splitlines()))
    body = [
        first_lines(rows, recipe, summary),
        section("Curves", curves(rows, summary)),
        *answers(
            recipe, weights or folder / f"{recipe.name}.safetensors", device, show, summary
        ),
        section("Left out", left_out(summary)),
        section("Device", device_of(summary)),
        section("Settings", f"<pre>{settings}</pre>"),
    ]
    title = escape(f"{recipe.name}, seed {recipe.train.seed}")
    page = PAGE.format(title=title, body="\n".join(body))
    path = Path(out or folder / "report.html")
    write_whole(path, lambda part: part.write_text(page, "utf-8"))
    return path


def section(title, content):
    """A part of the page under its title."""
    return f"<h2>{title}</h2>\n{content}"


def said(text):
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def first_lines(rows, recipe, summary):
    """What came out, in two or three sentences."""
    if not summary:
        epochs = f"{len(rows)} of {recipe.train.epochs} epochs are done"
        return said(f"This training has not come to its end: {epochs}.")
    text = (
        f"{summary['test_accuracy_last_epoch']:.2%} right at the last epoch, on "
        f"{summary['held_out_images']:,} pictures of {summary['held_out_is']}; trained on "
        f"{summary['training_images']:,}."
    )
    raw = summary.get("test_accuracy_raw_weights")
    if raw is not None:
        text += f" These are averaged weights; the last weights themselves: {raw:.2%}."
    return said(text)


def curves(rows, summary):
    """Loss and accuracy over the epochs, as SVG on white paper, whose text stays text."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    held = summary.get("held_out_is", "held out")
    lines = [
        ("loss", [("loss", "training", BLUE), ("test_loss", held, ORANGE)]),
        ("accuracy", [("train_accuracy", "training", BLUE), ("test_accuracy", held, ORANGE)]),
    ]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vitbook"}):
        figure = Figure(figsize=(9, 3.2), layout="constrained", facecolor="white")
        alt = []
        for ax, (title, columns) in zip(figure.subplots(1, 2), lines, strict=True):
            for column, label, color in columns:
                points = [(int(r["epoch"]), float(r[column])) for r in rows if r.get(column)]
                if points:
                    ax.plot(*zip(*points, strict=True), color=color, marker=".", label=label)
                    alt.append(f"{title}, {label}: {points[0][1]:.3g} to {points[-1][1]:.3g}")
            ax.set(title=title, xlabel="epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.spines[["top", "right"]].set_visible(False)
            if ax.lines:
                ax.legend(frameon=False)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing)
    drawn = text.getvalue()
    label = escape("; ".join(alt), quote=True)
    drawn = drawn[drawn.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{label}"', 1
    )
    missing = [c for c in ("train_accuracy", "test_loss") if c not in rows[0]]
    note = said(f"This run did not record {' and '.join(missing)}.") if missing else ""
    return f'<div class="paper">{drawn}</div>{note}'


def answers(recipe, path, device, show, summary):
    """The parts that need weights and data, or why they are not there."""
    titles = "Accuracy per class", "Confusion", "The most confident mistakes"
    try:
        model, classes, images, labels = weights_and_data(recipe, Path(path))
    except (ValueError, OSError) as error:
        why, shares = said(f"Not shown: {error}."), summary.get("class_accuracy")
        return map(section, titles, (per_class(shares) if shares else why, why, why))
    model = model.to(device)
    logits = predict(for_predict(model), images.to(device))
    chances = logits.float().softmax(dim=1).cpu()
    table = confusion(chances.argmax(dim=1), labels, len(classes))
    shares = {c: (table[k, k] / table[k].sum()).item() for k, c in enumerate(classes)
              if table[k].any()}  # fmt: skip
    right = said(f"{table.trace():,} of {len(labels):,} right, asked again for this page.")
    worst = [(images[i].to(device), labels[i], chances[i]) for i in mistakes(chances, labels)]
    parts = (
        right + per_class(shares),
        matrix(table, classes),
        gallery(model, classes, worst, show),
    )
    return map(section, titles, parts)


def weights_and_data(recipe, path):
    """The model, its classes, and the pictures that were held out, labelled by those classes.

    Returns:
        model, list of names, images (image, channel, height, width), labels (image,).

    Raises:
        ValueError, OSError: the weights or the data are not there, or do not fit together.
    """
    if not path.is_file():
        raise ValueError(f"there is no {path.name} in the run; give weights by --weights")
    model, header = load_weights(path), read_header(path)
    loaded = read_data(recipe._replace(model=model.config))
    found = [str(name) for name in loaded.classes]
    classes = [str(name) for name in header.get("classes", found)]
    if not set(found) <= set(classes) or len(classes) != model.config.classes:
        raise ValueError(
            f"the weights know {model.config.classes} classes ({', '.join(classes[:3])}, …), "
            f"{recipe.data} has {len(found)} ({', '.join(found[:3])}, …)"
        )
    places = torch.tensor([classes.index(name) for name in found])
    images = pictures.channels(loaded.test.images, model.config.channels)
    return model, classes, images, places[loaded.test.labels]


def confusion(guess, labels, count):
    """How often each class (row) was taken for each (column): (class, class)."""
    table = torch.zeros(count, count, dtype=torch.int64)
    return table.index_put((labels, guess), torch.ones_like(labels), accumulate=True)


def mistakes(chances, labels):
    """The images that are answered wrongly, surest first: a list of numbers."""
    sure, guess = chances.max(dim=1)
    wrong = (guess != labels).nonzero()[:, 0]
    order = sure[wrong].argsort(descending=True, stable=True)
    return wrong[order[:MISTAKES]].tolist()


def per_class(shares):
    """A table of {class: share of right answers}, the hardest first."""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{share:.1%}</td></tr>'
        for name, share in sorted(shares.items(), key=lambda item: item[1])
    )
    return f"<table>{rows}</table>"


def matrix(table, classes):
    """The confusion matrix as a table, or of many classes the commonest confusions."""
    names = [escape(name) for name in classes]
    if len(names) > WIDEST:
        off = table - table.diag().diag()
        commonest = off.flatten().argsort(descending=True, stable=True)[:WIDEST].tolist()
        pairs = [divmod(place, len(names)) for place in commonest]
        rows = "".join(
            f'<tr><th scope="row">{names[i]}, taken for {names[j]}</th>'
            f"<td>{off[i, j]}</td></tr>"
            for i, j in pairs
            if off[i, j]
        )
        return f"{said('The commonest confusions.')}<table>{rows}</table>"
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    shares = (table / table.sum(dim=1, keepdim=True).clamp(min=1)).tolist()
    rows = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(
            f'<td style="background:rgb(0 114 178/{0.6 * share:.2f})">{count}</td>'
            for count, share in zip(counts, line, strict=True)
        )
        + "</tr>"
        for name, counts, line in zip(names, table.tolist(), shares, strict=True)
    )
    return (
        f"{said('Rows: what it is. Columns: what the model says.')}"
        f'<div class="scroll"><table><thead><tr><th scope="col">class</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def gallery(model, classes, worst, show):
    """The worst mistakes, (image, label, chances) each: pictures and maps, or words alone."""
    if not worst:
        return said("There are none.")
    if not show:
        words = "".join(f"<li>{told(classes, *rest)}</li>" for _, *rest in worst)
        why = "In words: a page that is passed on must not hold pictures that may not be."
        return f"{said(why)}<ol>{words}</ol>"
    what = (
        "the class token looks in the last layer, its heads averaged"
        if model.config.pool == "cls"
        else "all tokens look, through all layers (rollout)"
    )
    drawn = "".join(mistake(model, classes, *one) for one in worst)
    how = said(f"Beside each picture, where {what}: yellow is most.")
    return f'{how}<div class="mistakes">{drawn}</div>'


def told(classes, label, chances):
    """A mistake in words."""
    sure, guess = chances.max(dim=0)
    return f"{escape(classes[label])}, taken for {escape(classes[guess])}: {sure:.1%}"


def mistake(model, classes, image, label, chances):
    """A mistake as a picture, with the map of where the model looked."""
    words = told(classes, label, chances)
    map_ = look(model, image)
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    alt = f"its map, brightest in row {row}, column {column} of the patches"
    return (
        f'<figure><img src="{png(image)}" alt="{words}"> '
        f'<img src="{png(coloured(map_))}" alt="{alt}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


@torch.no_grad()
def look(model, image):
    """Where a model looks: (row, column) of patches, the largest value 1.

    Args:
        model: a :class:`vitbook.VisionTransformer`, in evaluation mode.
        image: (channel, height, width), uint8.
    """
    with record_attention(model) as maps:
        for_predict(model)(normalize(image[None]))
    weights, (rows, columns) = maps.weights.float(), model.config.grid
    if model.config.pool == "cls":
        map_ = class_token_map(weights, grid=model.config.grid)[0].mean(dim=0)
    else:
        map_ = rollout(weights)[0].mean(dim=0)
    map_ = map_[-rows * columns :].reshape(rows, columns).cpu()
    return map_ / map_.max()


def coloured(map_):
    """A map of values 0…1 in viridis: (3, row, column), uint8."""
    from matplotlib import colormaps

    return torch.from_numpy(colormaps["viridis"](map_.numpy(), bytes=True))[..., :3].permute(
        2, 0, 1
    )


def png(image):
    """An image, (channel, height, width), uint8, as a data address."""
    from PIL import Image

    pixels = image.cpu().expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def left_out(summary):
    """What was left out or went otherwise than asked, as the run noted it."""
    if not summary:
        return said("Not known: this is noted when a training ends.")
    lines = [*summary.get("notes", []), *summary.get("remarks", [])]
    if summary.get("skipped_steps"):
        lines.append(f"{summary['skipped_steps']} steps were skipped: their float16 gradient "
                     "was no number.")  # fmt: skip
    if not lines:
        asked = "notes" in summary
        return said("Nothing." if asked else "This run did not note what its data left out.")
    return f"<ul>{''.join(f'<li>{escape(str(line))}</li>' for line in lines)}</ul>"


def device_of(summary):
    """On what, how long, and with which versions."""
    if not summary:
        return said("Not known: this is noted when a training ends.")
    versions = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    how = [str(summary[key]) for key in ("precision", "attention") if key in summary]
    text = f"{summary['device']}; {summary['seconds']:,} seconds; {versions}"
    return said(f"{text}; {', '.join(how)}." if how else f"{text}.")
