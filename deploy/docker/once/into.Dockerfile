# Sally in an image of yours: one COPY, nothing else. BASE stands for your image; it needs only a shell.
#
#     docker build -t visited -f deploy/docker/once/into.Dockerfile --build-arg BASE=your/image .
#     docker run --rm -p 2022:2022 -e AUTHORIZED_KEYS="$(cat ~/.ssh/id_ed25519.pub)" visited once
#
# Sally needs no root, no writable file system and no /etc/passwd. The record goes to stdout, which is the container's log.
ARG SALLY=sally
ARG BASE=busybox
FROM ${SALLY} AS sally
FROM ${BASE}
COPY --from=sally /usr/local/bin/sally /usr/local/bin/sally
USER 65534:65534
EXPOSE 2022
ENTRYPOINT ["/usr/local/bin/sally"]
