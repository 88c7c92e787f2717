# One image for all our processes; the command says which. `docker build .` makes the production image, without sandbox and tests.
# Everything from the package index is checked against the hashes in requirements/.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/build.txt
RUN python -m venv /opt/tracker
RUN /opt/tracker/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY tracker tracker
COPY bridge bridge
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist .
RUN /opt/tracker/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.11-slim-bookworm AS runtime
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tracker
COPY --from=build /opt/tracker /opt/tracker
# With REMAP_SIGTERM a worker that is told to stop hands back what it has begun; Celery heeds it only in the environment.
# With one arena of glibc's memory a bridge takes some 30 MiB less, and what it takes does not rise.
ENV PATH=/opt/tracker/bin:$PATH \
    MALLOC_ARENA_MAX=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REMAP_SIGTERM=SIGQUIT
USER 10001
EXPOSE 21300
CMD ["tracker", "--help"]

# The stand-ins of the two APIs, for trying the tracker out.
FROM runtime AS sandbox
COPY --chown=10001 sandbox /opt/sandbox/sandbox
ENV PYTHONPATH=/opt/sandbox
CMD ["python", "-m", "sandbox.dataset_api", "--help"]

FROM runtime AS production
