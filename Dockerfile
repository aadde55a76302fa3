# docker build -t fpgmlab . && docker run --rm -p 8888:8888 fpgmlab
# What shall outlast it: docker run -v fpgmlab:/opt/fpgmlab/outputs ... (or a folder of yours that user 1000 may write to).
# The desk for the classroom, without code: docker run --rm -p 8866:8866 fpgmlab voila --Voila.ip=0.0.0.0 --no-browser notebooks/05_classroom_desk.ipynb
# For many: docker run --rm -p 8866:8866 fpgmlab python -m fpgmlab.widgets.classroom notebooks/05_classroom_desk.ipynb
# With a GPU: docker run --rm --gpus all -p 8888:8888 fpgmlab. The torch wheels bring CUDA, the host NVIDIA's container toolkit and
# a driver that is new enough (580 for CUDA 13). Which CUDA it is: data/results/container.json, whose run had no GPU.
# Without: docker build --build-arg PIP_OPTIONS='--extra-index-url ADDRESS' -t fpgmlab . with the address of PyTorch's wheels for CPUs
# (pytorch.org, "Get started") leaves CUDA out, more than half of the image.
# Another base, with Python 3.11 or newer or with apt: docker build --build-arg BASE=python:3.13-slim .
# Without Docker: tests/container/build.sh builds it and tries it.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

RUN python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || { apt-get update \
         && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
         && rm -rf /var/lib/apt/lists/*; }

# What it stands on comes first: a change of the code or of a notebook installs nothing anew.
WORKDIR /opt/fpgmlab
COPY pyproject.toml README.md LICENSE ./
COPY fpgmlab/__init__.py ./fpgmlab/
ARG PIP_OPTIONS=
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir ${PIP_OPTIONS} --editable '.[lab,detect,deploy,cluster]' \
    && useradd --create-home --uid 1000 reader \
    && mkdir outputs \
    && chown reader . outputs
COPY --chown=reader fpgmlab ./fpgmlab
COPY --chown=reader data ./data
COPY --chown=reader notebooks ./notebooks

USER reader
ENV PATH=/opt/venv/bin:$PATH
EXPOSE 8888 8866
# JupyterLab prints the address with its token; it opens the quickstart, with the whole project beside it.
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--LabApp.default_url=/lab/tree/notebooks/00_quickstart.ipynb"]
