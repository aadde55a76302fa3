# docker build -t fpgmlab . && docker run --rm -p 8888:8888 fpgmlab
# The desk for the classroom, without code: docker run --rm -p 8866:8866 fpgmlab voila --Voila.ip=0.0.0.0 --no-browser notebooks/05_classroom_desk.ipynb
# With a GPU: docker run --rm --gpus all -p 8888:8888 fpgmlab (the torch wheels bring CUDA; the host brings the driver).
# Another base, with Python 3.11 or newer or with apt: docker build --build-arg BASE=python:3.13-slim .
ARG BASE=debian:bookworm-slim
FROM ${BASE}

RUN python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || { apt-get update \
         && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
         && rm -rf /var/lib/apt/lists/*; }

WORKDIR /opt/fpgmlab
COPY pyproject.toml README.md LICENSE ./
COPY fpgmlab ./fpgmlab
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --editable '.[lab,detect,deploy,cluster]'
COPY data ./data
COPY notebooks ./notebooks

RUN useradd --create-home reader && chown -R reader /opt/fpgmlab
USER reader
ENV PATH=/opt/venv/bin:$PATH
EXPOSE 8888
# JupyterLab prints the address with its token.
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "notebooks/00_quickstart.ipynb"]
