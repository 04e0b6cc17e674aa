# syntax=docker/dockerfile:1
# mmhybrid with MMDetection. For CPUs, and for NVIDIA GPUs:
#
#   docker build -t mmhybrid .
#   docker build -t mmhybrid:cuda --build-arg DEVICE=cuda .
#   docker run --rm -v "$PWD/work_dirs:/mmhybrid/work_dirs" mmhybrid python tools/demo.py
#   docker run --rm --gpus all --ipc=host -v /data/coco:/data/coco -v "$PWD/work_dirs:/mmhybrid/work_dirs" mmhybrid:cuda \
#     python tools/train.py configs/mask_rcnn_tiedresnet50_fpn_2x.py --amp --cfg-options data_root=/data/coco
#
# The operators of mmcv are compiled in the first stage, which needs no source file of this package: a changed source
# file does not compile them again. An index with the CPU build of torch, a tenth of the size:
# --build-arg PIP_EXTRA_INDEX_URL=...; fewer compilers at once, where memory is short: --build-arg MAX_JOBS=2.
# Building needs BuildKit, Docker's builder since version 23.
ARG DEVICE=cpu
# Of continuous integration.
ARG PYTHON=3.11
# That of the wheels of torch 2.13.0, which require cuda-toolkit 13.0.
ARG CUDA=13.0.1

FROM python:${PYTHON}-slim-bookworm AS devel-cpu

FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS devel-cuda
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM python:${PYTHON}-slim-bookworm AS runtime-cpu

# Without cuBLAS and the like: the wheels of torch bring theirs.
FROM nvidia/cuda:${CUDA}-base-ubuntu24.04 AS runtime-cuda
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

# hadolint ignore=DL3006
FROM devel-${DEVICE} AS build
ARG DEVICE
ARG MAX_JOBS
ARG PIP_EXTRA_INDEX_URL
# No GPU answers while an image is built, so the architectures are named: Turing to Blackwell.
ARG TORCH_CUDA_ARCH_LIST="7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /mmhybrid
COPY constraints.txt ./
COPY tools/setup_check.py tools/setup_env.py tools/setup_pip.py tools/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 tools/setup_env.py --venv /opt/mmhybrid --device "$DEVICE" --stack-only

# hadolint ignore=DL3006
FROM runtime-${DEVICE}
ARG DEVICE
ARG PIP_EXTRA_INDEX_URL
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/mmhybrid /opt/mmhybrid
WORKDIR /mmhybrid
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 tools/setup_env.py --venv /opt/mmhybrid --device "$DEVICE"
ENV PATH=/opt/mmhybrid/bin:$PATH
CMD ["mmhybrid", "--help"]
