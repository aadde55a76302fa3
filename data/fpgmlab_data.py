"""The data of fpgmlab, installed: data sets, trained checkpoints, stored studies, and the course's notebooks.

`fpgmlab` finds them by itself (``fpgmlab.common.data_dir``); what comes from where and under which licence says
``README.md`` beside this file.
"""
