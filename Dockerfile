# The image of workers and of the dashboard: `docker build --tag cifarsweep .`. It has no data set; docs/how-to/containers.md.
FROM python:3.13-slim-trixie AS build
WORKDIR /source
RUN pip install --no-cache-dir uv==0.13.9
# Torch and its libraries of CUDA are most of the image: a layer of their own, built again only when the lock changes.
COPY pyproject.toml requirements.lock ./
RUN uv venv /opt/cifarsweep \
 && uv pip install --no-cache --compile-bytecode --python /opt/cifarsweep/bin/python --constraints requirements.lock \
      --requirements pyproject.toml --extra postgres --extra s3 --extra dashboard --extra timm --extra search
COPY . .
RUN uv pip install --no-cache --compile-bytecode --python /opt/cifarsweep/bin/python --no-deps .

FROM python:3.13-slim-trixie
RUN useradd --uid 1000 --no-log-init --create-home --home-dir /var/lib/cifarsweep cifarsweep
COPY --from=build /opt/cifarsweep /opt/cifarsweep
ENV PATH=/opt/cifarsweep/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CIFARSWEEP_DATA=/var/lib/cifarsweep/data \
    CIFARSWEEP_ARTIFACTS=/var/lib/cifarsweep/checkpoints \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A number, by which Kubernetes knows that it is not root.
USER 1000
WORKDIR /var/lib/cifarsweep
ENTRYPOINT ["cifarsweep"]
CMD ["--help"]
