#!/bin/sh
# `make demo`: the Pisa flow where its real scenes are found; otherwise one line that says what it needs, and status 2.
set -eu
cd "$(dirname "$0")/../.."

shared=${EOPIPE_SHARED:-../shared}
spec=tests/flows/land-cover-pisa.yaml
out=out/pisa-landcover
if [ ! -f "$shared/data/sentinel2-oscd/collection.json" ]; then
    echo "make demo: needs the real Sentinel-2 scenes in $shared/data/sentinel2-oscd; put the shared folder there, or set EOPIPE_SHARED" >&2
    exit 2
fi
if [ "$(cd "$shared" && pwd)" != "$(cd .. && pwd)/shared" ]; then
    mkdir -p out  # the spec names the folder beside the checkout; here it is elsewhere
    spec=out/land-cover-pisa.yaml
    sed -e "s#\.\./\.\./\.\./shared#$(cd "$shared" && pwd)#" -e "s#\.\./\.\./out#$(pwd)/out#" \
        tests/flows/land-cover-pisa.yaml > "$spec"
fi

status=0
eopipe run "$spec" || status=$?
if [ "$status" -eq 0 ]; then
    echo
    echo "the map: $out/quicklook.png"
    echo "next: .venv/bin/eopipe validate $out"
fi
exit "$status"
