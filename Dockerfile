# syntax=docker/dockerfile:1
# The dashboard for linux/amd64 and linux/arm64, on CPU:
#
#   docker build -t pannscope .
#   docker run --rm -p 8501:8501 -v pannscope-weights:/data/weights pannscope
#
# The embedded models are in the image. PANNSCOPE_AUTO_FETCH=1 downloads the official CNN14 and E-PANNs at the first start (about
# 0.4 GB, verified) into the volume /data/weights, where they stay.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin pannscope \
    && install -d -o pannscope -g pannscope /data/weights

WORKDIR /app

# The dependencies change rarely and are the largest part: a layer of their own, below the code.
COPY requirements.txt ./
COPY scripts/torch-cpu ./scripts/torch-cpu
RUN pip install -r requirements.txt

# setuptools is among the requirements, so that the build needs no network.
COPY pyproject.toml README.md LICENSE LICENCES.md ./
COPY checkpoints ./checkpoints
COPY core ./core
COPY dashboard ./dashboard
COPY pannscope ./pannscope
RUN pip install --no-deps --no-build-isolation --editable . \
    && python -m compileall -q core dashboard pannscope

ENV PANNSCOPE_WEIGHTS=/data/weights \
    PANNSCOPE_AUTO_FETCH=0 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501 \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none

USER pannscope
VOLUME /data/weights
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, sys, urllib.request as u; sys.exit(u.urlopen('http://127.0.0.1:' + os.environ['STREAMLIT_SERVER_PORT'] + '/_stcore/health', timeout=4).read() != b'ok')"]

CMD ["pannscope", "serve"]
