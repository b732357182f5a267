#!/bin/bash
# Who may include whom (see common/README.md): third-party libraries stay behind one file each, and the two
# daemons meet in common/ only.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
bad=0

# only <header pattern> <allowed path pattern> <folders...>
only() {
    local header=$1 allowed=$2 found
    shift 2
    found=$(grep -rlE --include='*.[ch]' "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$header" "$@" |
        grep -vE "^($allowed)\$")
    if [ -n "$found" ]; then
        printf '%s is included by:\n%s\nallowed: %s\n' "$header" "$found" "$allowed"
        bad=1
    fi
}

daemons="common producer worker"
# shellcheck disable=SC2086 # the folders are words
{
    only 'librdkafka/' 'common/kafka_[a-z_]*\.c|common/kafka_internal\.h' $daemons
    only 'json-c/|json\.h>' 'common/json\.c' $daemons
    only 'libconfig\.h' 'common/conf_file\.c' $daemons
    only 'microhttpd\.h' 'common/admin\.c' $daemons
    only 'curl/' 'worker/http\.c' $daemons
}
only 'worker/' '' producer common
only 'producer/' '' worker common
only '(producer|worker|common)/main' '' producer worker common tests
only 'tests/' '' producer worker common

# the check itself must be able to fail
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
printf '#include <curl/curl.h>\n' >"$probe/probe.c"
if (bad=0; only 'curl/' 'worker/http\.c' "$probe" >/dev/null; [ "$bad" = 0 ]); then
    echo "a file that breaks the rule was not found"
    bad=1
fi
exit $bad
