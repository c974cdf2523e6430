# Builds two images. `api` also runs the reaper and the migrations; it has no torch and stays small. `worker` has torch.
#   docker build --target worker --build-arg TORCH_INDEX=URL .     takes torch from another index, such as CPU-only wheels
# pip checks all packages but torch against the hashes in locks/ (`make lock`). The right torch wheel depends on the
# machine, so TORCH_INDEX selects it.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# Volumes take their owner from these folders. The database server has its own user, so /records is open to all.
RUN useradd --system --uid 10001 --create-home patina && install -d -o patina -g patina /data /run/patina \
    && install -d -m 1777 /records
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/patina \
    PATINA_DATA_DIR=/data PATINA_HOST=0.0.0.0

# Packages change seldom, so they come before the source. PYTHONPATH finds the source.
FROM base AS packages
WORKDIR /build
RUN python -m venv /opt/venv
COPY locks/api.txt ./
RUN pip install --no-cache-dir --require-hashes -r api.txt
COPY pyproject.toml README.md LICENSE ./
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
# With spinning threads, two torch processes on the same cores are ten times slower.
ENV OMP_WAIT_POLICY=PASSIVE
COPY --from=worker-packages /opt/venv /opt/venv
COPY . /opt/patina
RUN python -m compileall -q /opt/patina
USER patina
WORKDIR /data
VOLUME /data
ENTRYPOINT ["python", "-P", "-m"]
CMD ["worker", "warm"]
