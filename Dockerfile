# Perron with the plugins and agents of this repository.
# Your own: `FROM perron`, or a directory in plugins/ or agents/, which the build picks up.
FROM python:3.13-slim AS build

ARG UV_VERSION=0.13.9
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/perron \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir "uv==${UV_VERSION}"

WORKDIR /src
COPY . .
# The image holds no checkout: --no-editable copies the workspace's packages into the environment.
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --no-dev --no-editable --all-packages --extra server


FROM python:3.13-slim

RUN useradd --uid 10001 --create-home perron \
    && install --directory --owner=perron --group=perron /srv/perron
COPY --from=build /opt/perron /opt/perron
ENV PATH="/opt/perron/bin:$PATH" \
    PYTHONUNBUFFERED=1

WORKDIR /srv/perron
# A number, so that Kubernetes can see that it is not root.
USER 10001
ENTRYPOINT ["perron"]
CMD ["--help"]
