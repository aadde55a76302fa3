"""fpgmlab: a workbench for structured filter pruning in PyTorch.

The public names are listed in ``__init__.pyi``; each is imported when it is first used, so that ``import fpgmlab`` is
quick.

Examples in docstrings go on from these lines:

>>> import fpgmlab as fl
>>> import torch
>>> model = fl.models.load("resnet20-fashion")
>>> task = fl.tasks.fashion_mnist()
>>> graph = fl.trace(model, task.example_input)
>>> scores = fl.score(graph, "fpgm")
>>> plan = fl.Plan.uniform(graph, scores, 0.4, multiple=1)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
