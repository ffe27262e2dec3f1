# Sally in an image of yours: one COPY, nothing else. BASE stands for your image; it must have a shell, and that is all it must have.
#
#     docker build -t visited -f deploy/docker/once/into.Dockerfile --build-arg BASE=your/image .
#     docker run --rm -p 2022:2022 -e AUTHORIZED_KEYS="$(cat ~/.ssh/id_ed25519.pub)" visited once
#
# Neither root nor a writable file system nor /etc/passwd is needed. The record goes to stdout: into the container's log.
ARG SALLY=sally
ARG BASE=busybox
FROM ${SALLY} AS sally
FROM ${BASE}
COPY --from=sally /usr/local/bin/sally /usr/local/bin/sally
USER 65534:65534
EXPOSE 2022
ENTRYPOINT ["/usr/local/bin/sally"]
