#!/usr/bin/env bash
# Draws the secrets that compose.yaml reads and that are not there yet. Only their folder is closed:
# the containers' users must read the files, and nobody else gets that far.
set -euo pipefail
cd "$(dirname "$0")"
. ./images.env
install -d -m 700 secrets
draw() { head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }
[ -s secrets/postgres-password ] || draw >secrets/postgres-password
[ -s secrets/grafana-password ] || draw >secrets/grafana-password
printf 'postgres:5432:conveyance:conveyance:%s\n' "$(cat secrets/postgres-password)" >secrets/pgpass
if [ ! -s secrets/sealing.key ]; then
  ${CONVEYANCE:-docker run --rm --network none "$CONVEYANCE_IMAGE"} tenant key >secrets/sealing.key.new
  mv secrets/sealing.key.new secrets/sealing.key
fi
chmod 644 secrets/*
