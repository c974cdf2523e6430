# One file, two images: `api` (also for the reaper and the migrations) has no torch and stays small; `worker` has it.
#   docker build --target worker --build-arg TORCH_INDEX=URL .     torch from an index of its own, such as CPU-only wheels
# Packages are checked against the hashes in locks/ (`make lock`), all but torch: which of its wheels is right, the builder
# says by TORCH_INDEX.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# What volumes get their owner from; the database's server, which mounts /records alone, has a number of its own.
RUN useradd --system --uid 10001 --create-home patina && install -d -o patina -g patina /data /run/patina \
    && install -d -m 1777 /records
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/patina \
    PATINA_DATA_DIR=/data PATINA_HOST=0.0.0.0

# The packages, which change seldom, come before the source, which changes often and is found by PYTHONPATH.
FROM base AS packages
WORKDIR /build
RUN python -m venv /opt/venv
COPY locks/api.txt ./
RUN pip install --no-cache-dir --require-hashes -r api.txt
COPY pyproject.toml README.md ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM packages AS worker-packages
ARG TORCH_INDEX=
COPY locks/worker.txt constraints.txt ./
RUN pip install --no-cache-dir --require-hashes -r worker.txt
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt torch

FROM base AS api
COPY --from=packages /opt/venv /opt/venv
COPY . /opt/patina
RUN python -m compileall -q /opt/patina
USER patina
WORKDIR /data
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["python", "-P", "-m"]
CMD ["app"]

FROM base AS worker
# Threads that spin while they wait make two torch processes on the same cores ten times slower.
ENV OMP_WAIT_POLICY=PASSIVE
COPY --from=worker-packages /opt/venv /opt/venv
COPY . /opt/patina
RUN python -m compileall -q /opt/patina
USER patina
WORKDIR /data
VOLUME /data
ENTRYPOINT ["python", "-P", "-m"]
CMD ["worker", "warm"]
