# A node, a journal, or everything in one container: the command says which. tests/test_docker.py carries these steps out.
FROM python:3.13-slim AS packages
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv
RUN /venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.13-slim
# The home is the data folder: a volume mounted there keeps the owner.
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin liveroom
WORKDIR /app
COPY --from=packages /venv /venv
COPY protocol ./protocol
COPY server ./server
RUN /venv/bin/python -m compileall -q protocol server

# Production, so that no container serves development secrets by accident; to try it out, set LIVEROOM_MODE=development.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LIVEROOM_MODE=production \
    LIVEROOM_HOST=0.0.0.0 \
    LIVEROOM_PORT=8000 \
    LIVEROOM_DATA=/data
USER liveroom
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['LIVEROOM_PORT'] + '/healthz', timeout=3)"]
ENTRYPOINT ["python", "-m", "server"]
CMD ["run"]
