# Two stages: the first builds what the second runs; the second has no compiler, no build tools and no sources.
# Any Debian-based image of Python 3.11 or newer will do; from a mirror: --build-arg PYTHON_IMAGE=mirror/python:3.12-slim
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/mtv-receiver \
    && /opt/mtv-receiver/bin/pip install --require-hashes -r requirements.lock \
    && pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md routes.yaml ./
COPY templates templates
COPY receiver receiver
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/mtv-receiver/bin/pip install --no-deps dist/*.whl \
    && /opt/mtv-receiver/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
# Certificates and time zones are wanted as they are today, not as they were when this was written.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir /data \
    && chgrp 0 /data \
    && chmod g=u /data
COPY --from=build /opt/mtv-receiver /opt/mtv-receiver
COPY routes.yaml /etc/mtv-receiver/routes.yaml
# Nothing is written outside /data: the root file system may be read-only.
ENV PATH=/opt/mtv-receiver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MTV_RECEIVER_CONFIG=/etc/mtv-receiver/routes.yaml \
    MTV_RECEIVER_LISTEN=0.0.0.0:9095 \
    MTV_RECEIVER_DATA=/data
# OpenShift runs it under a number of its own choice, with group 0.
USER 1001:0
WORKDIR /data
VOLUME /data
EXPOSE 9095
# Asks where MTV_RECEIVER_LISTEN says, past any proxy; on Linux, 0.0.0.0 and :: lead to the container itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; host, _, port = os.environ['MTV_RECEIVER_LISTEN'].rpartition(':'); peer = http.client.HTTPConnection(host.strip('[]'), int(port), timeout=4); peer.request('GET', '/-/healthy'); sys.exit(peer.getresponse().status != 200)"]
ENTRYPOINT ["mtv-receiver"]
CMD ["serve"]
