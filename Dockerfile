# One image for every process of the project; the command says which: worker, callback-server,
# simulator, db upgrade. Built and checked piece by piece, but never run by Docker where it was
# written; see docker-compose.yml.

ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/payouts
WORKDIR /build
# Packages change less often than our code: they have a layer of their own.
COPY requirements-runtime.lock ./
RUN /opt/payouts/bin/pip install --require-hashes --requirement requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY payouts payouts
COPY worker worker
COPY callback_server callback_server
COPY migrations migrations
COPY ops ops
RUN /opt/payouts/bin/pip install --no-deps .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="mpesa-payouts" \
      org.opencontainers.image.licenses="Apache-2.0"
# A user without name, home or shell on any host. The folders are for the simulator's certificate
# and for how far `payouts send` has come: new volumes take over their owner.
RUN groupadd --system --gid 10001 payouts \
    && useradd --system --uid 10001 --gid payouts --no-create-home --shell /usr/sbin/nologin payouts \
    && install --directory --owner=payouts --group=payouts --mode=0750 \
        /var/lib/payouts /var/lib/payouts-sending
COPY --from=build /opt/payouts /opt/payouts
ENV PATH=/opt/payouts/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/payouts
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["payouts"]
CMD ["--help"]
