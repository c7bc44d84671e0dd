# One image for every role: the command says which (serve, tracker, attribution, reports, import, audit, rebuild).
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/lasttouch
COPY requirements.lock ./
RUN /opt/lasttouch/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md lasttouch.py ./
COPY tracker tracker
COPY attribution attribution
COPY reports reports
COPY loadtests loadtests
RUN /opt/lasttouch/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home lasttouch \
    && install -d -o lasttouch -g lasttouch -m 0700 /data
COPY --from=build /opt/lasttouch /opt/lasttouch
ENV PATH=/opt/lasttouch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LASTTOUCH_DATA=/data
USER lasttouch
VOLUME /data
EXPOSE 8000 8001
# The tracker listens on 8000, the other roles on 8001: healthy when all that listen here say that they live.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "tracker.healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lasttouch"]
CMD ["serve", "--host", "0.0.0.0"]
