"""What a figure says of detections."""

from __future__ import annotations

import torch

import fpgmlab as fl


def test_what_the_figure_says():
    wanted = torch.tensor([[[0.0, 0, 0, 20, 20], [0, 30, 30, 50, 50], [-1, -1, -1, -1, -1]]])
    boxes = torch.tensor([[1.0, 0, 20, 20], [0, 0, 19, 20], [30, 0, 50, 20]])
    found = [{"boxes": boxes, "scores": torch.tensor([0.5, 0.9, 0.8]), "labels": torch.zeros(3, dtype=torch.int64)}]
    figure = fl.figures.detections(torch.zeros(1, 3, 64, 64), {"net": found}, wanted)
    assert figure.axes[0].get_title(loc="left") == "net\n1 right, 2 wrong, 1 missed"
    crowd = torch.cat([wanted, torch.tensor([[[-2.0, 30, 0, 64, 10]]])], dim=1)  # around half of the third
    figure = fl.figures.detections(torch.zeros(1, 3, 64, 64), {"net": found}, crowd)
    assert figure.axes[0].get_title(loc="left") == "net\n1 right, 1 wrong, 1 missed"
    for aside in ([-3.0, 30, 0, 64, 10], [-2.0, 30, 0, 64, 9]):  # of another class, around less
        crowd[0, -1] = torch.tensor(aside)
        figure = fl.figures.detections(torch.zeros(1, 3, 64, 64), {"net": found}, crowd)
        assert figure.axes[0].get_title(loc="left") == "net\n1 right, 2 wrong, 1 missed"
    figure = fl.figures.detections(torch.zeros(1, 3, 64, 64), {"net": found})
    assert figure.axes[0].get_title(loc="left") == "net\n3 found"
