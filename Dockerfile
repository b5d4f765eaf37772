# On a CPU:   docker build -t recsim-drpo .
# With CUDA:  docker build -t recsim-drpo:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
# Then:       docker run --rm -v "$PWD:/data" --user "$(id -u)" recsim-drpo demo
#             (with CUDA: docker run --gpus all …, and --device cuda of a command)
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# PyTorch's own index has it without CUDA; PyPI's wheels for Linux bring CUDA, gigabytes of it.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=plots,parquet
WORKDIR /source
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
# recsim_drpo has links to these three.
COPY agents agents
COPY datasets datasets
COPY benchmarks benchmarks
COPY recsim_drpo recsim_drpo
RUN python -m venv /opt/recsim-drpo \
    && /opt/recsim-drpo/bin/pip install --no-cache-dir --disable-pip-version-check \
        --extra-index-url "${TORCH_INDEX}" --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
RUN useradd --uid 1000 --create-home recsim && install --directory --owner recsim /data
COPY --from=build /opt/recsim-drpo /opt/recsim-drpo
ENV PATH=/opt/recsim-drpo/bin:$PATH \
    HOME=/tmp \
    MINARI_DATASETS_PATH=/data/datasets \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
ENTRYPOINT ["recsim-drpo"]
CMD ["--help"]
