# syntax=docker/dockerfile:1
# For a CPU:
#   docker build -t stablenormal .
# For NVIDIA GPUs (the host needs the NVIDIA Container Toolkit; the wheels bring CUDA themselves):
#   docker build -t stablenormal:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
#
#   docker run --rm -v "$PWD:/data" stablenormal predict photos/ -o normals/
#   docker run --rm -p 127.0.0.1:8000:8000 stablenormal serve --host 0.0.0.0      (with tokens: docs/service.md)
#   docker run --rm --gpus all -v "$PWD:/data" stablenormal:cuda predict photos/ -o normals/ --device cuda

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=video,serve
WORKDIR /source
RUN python -m venv /opt/stablenormal
ENV PATH=/opt/stablenormal/bin:$PATH
COPY constraints.txt ./
# PyTorch comes first and alone: it is by far the largest layer, and changes least.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/stablenormal /opt/stablenormal
ENV PATH=/opt/stablenormal/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --create-home --uid 1000 user
USER 1000
WORKDIR /data
ENTRYPOINT ["stablenormal"]
CMD ["--help"]
