"""Figures take tensors as models give them."""

import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from matplotlib.figure import Figure
from torch.testing import assert_close

from vitbook.plot import heatmap, show_image

LOW = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("kind", LOW)
def test_figures_take_every_precision(kind):
    values, image = torch.rand(3 * 5).to(kind).requires_grad_(), torch.rand(3, 6, 10).to(kind)
    ax = Figure().subplots()
    drawn = heatmap(ax, values, (3, 5), image)
    assert_close(torch.tensor(drawn.get_array()), values.detach().float().view(3, 5))
    show_image(ax, image.requires_grad_())
    shown = torch.as_tensor(ax.images[-1].get_array())
    assert_close(shown, image.detach().float().permute(1, 2, 0), check_dtype=False)


def test_whole_numbers_stay_whole():
    image = torch.randint(256, (3, 5, 7), dtype=torch.uint8)
    ax = Figure().subplots()
    show_image(ax, image)
    assert torch.equal(torch.as_tensor(ax.images[0].get_array()), image.permute(1, 2, 0))


def test_importing_leaves_the_style_of_a_process_alone():
    script = (
        "import matplotlib.pyplot as plt; before = dict(plt.rcParams)\n"
        "import vitbook.report, vitbook.viewer, vitbook.plot.diagrams, vitbook.__main__\n"
        "assert dict(plt.rcParams) == before; vitbook.plot.style()\n"
        "assert dict(plt.rcParams) == before | vitbook.plot.STYLE != before"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
