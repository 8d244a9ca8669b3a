#!/usr/bin/env bash
# The test lab: real mail servers and clients on this machine's loopback, for trying and proving Mailferry.
#
#   tests/lab.sh install         install what the lab needs (Debian 12, as root); does nothing if it is there
#   tests/lab.sh demo [--once]   an old server, a new one, the proxy between them; stays up until Ctrl-C,
#                                or with --once shows, checks and ends: exit code 0 if all was as it should be
#   tests/lab.sh test            install, build, run every test
#   tests/lab.sh crash [--rounds N] [--seed S] [--old dovecot|courier] [--new dovecot|cyrus]
#                                kill the proxy N times in random traffic and hold servers and view against what
#                                was acknowledged; the same seed plays the same traffic
#   tests/lab.sh rollback [--messages N] [--seed S] [--kills N] [--old dovecot|courier] [--new dovecot|cyrus]
#                                bring a mailbox that is half moved back to old, the proxy being killed N times on the
#                                way, and hold what old has against what must be there; 5000 messages unless told
#   tests/lab.sh line [--seed S] [--old …] [--new …]
#                                answer every command that the proxy sends wrongly once: refused, cut, garbled, late
#   tests/lab.sh stress [--seconds N] [--clients N] [--seed S] [--pair NAME]
#                                random commands of many clients on one mailbox while it is copied, every response
#                                held against what was told before; 20 clients for a minute unless told otherwise.
#                                Pairs, old first: dovecot, dovecot-cyrus, courier-dovecot, courier-cyrus
#   tests/lab.sh mail [--messages N] [--seed S]
#                                send N messages in and out between two Postfix while the proxy is killed at random,
#                                and hold the mailboxes against what was accepted; 10000 unless told otherwise
#   tests/lab.sh move [--accounts N] [--messages M] [--seed S] [--new dovecot|cyrus] [--kills K] [--limit 0B]
#                                move N accounts with M messages of 1 KB to 20 MB while their clients work and the
#                                proxy is killed; every message is then on new exactly once, and it is told how long
#                                clients' commands took without and with it; 20 accounts, 10000 messages, and
#                                no limit on the octets a second
#   tests/lab.sh again [--folders N] [--messages M] [--new dovecot|cyrus]
#                                how long it takes to look again at an account of which all is moved
#   tests/lab.sh limit           a limit of 1 MB a second, held against what passes over a minute
#   tests/lab.sh bench [NAME…]   measure beside other proxies (installs nginx): all, or measures named so;
#                                JSON lies in target/speed afterwards
#
# Nothing is left running, and nothing outside a temporary directory and cargo's target is written.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packages=(
    dovecot-imapd dovecot-lmtpd isync offlineimap3 mutt curl python3 python3-prometheus-client gcc libc6-dev
    postfix swaks libnet-ssleay-perl msmtp
    cyrus-common cyrus-admin sasl2-bin libsasl2-modules libsasl2-modules-db
    courier-base courier-authdaemon courier-authlib courier-authlib-userdb
)
# The proxies that are measured beside ours.
rivals=(nginx-light libnginx-mod-mail)

main() {
    case "${1-}:${2-}" in
        install:) install_all ;;
        demo: | demo:--once) demo "${@:2}" ;;
        test:) run_tests ;;
        crash:*) crash "${@:2}" ;;
        rollback:*) rollback "${@:2}" ;;
        line:*) line "${@:2}" ;;
        stress:*) stress "${@:2}" ;;
        mail:*) mail "${@:2}" ;;
        move:*) move "${@:2}" ;;
        again:*) again "${@:2}" ;;
        limit:) limit ;;
        bench:*) bench "${@:2}" ;;
        *) usage >&2; exit 2 ;;
    esac
}

usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

# Reads `--name value` into variables of these names, which are the caller's: `options "seed old" "$@"`.
options() {
    local known=" $1 "
    shift
    while (($#)); do
        [[ $1 == --* && $known == *" ${1#--} "* && $# -ge 2 ]] || { usage >&2; exit 2; }
        printf -v "${1#--}" %s "$2"
        shift 2
    done
}

crash() {
    local rounds=300 seed=$RANDOM old=dovecot new=dovecot
    options "rounds seed old new" "$@"
    install_all
    echo "$rounds rounds of seed $seed, $old to $new"
    cd "$root"
    CRASH_ROUNDS=$rounds CRASH_SEED=$seed CRASH_OLD=$old CRASH_NEW=$new \
        cargo test --test kills -- --nocapture killed_at_random the_power_goes
}

rollback() {
    local messages=5000 seed=$RANDOM kills=0 old=dovecot new=dovecot
    while (($#)); do
        [[ ${1-} == --@(messages|seed|kills|old|new) && $# -ge 2 ]] || { usage >&2; exit 2; }
        printf -v "${1#--}" %s "$2"
        shift 2
    done
    install_all
    cd "$root"
    echo "$messages messages, seed $seed, $kills kills, from $new back to $old"
    ROLLBACK_MESSAGES=$messages ROLLBACK_SEED=$seed ROLLBACK_KILLS=$kills ROLLBACK_OLD=$old ROLLBACK_NEW=$new \
        LAB_LOG=info cargo test --quiet --test rollback -- --nocapture old_has_everything
}

line() {
    local seed=$RANDOM old=dovecot new=dovecot
    options "seed old new" "$@"
    install_all
    echo "seed $seed, $old to $new"
    cd "$root"
    LINE_STRIDE=1 CRASH_SEED=$seed CRASH_OLD=$old CRASH_NEW=$new \
        cargo test --test kills -- --nocapture every_command the_line_is_cut
}

# Idempotent and silent; says what went wrong if something did.
install_all() {
    install_packages
    # Their own packages exclude Dovecot's: all provide imap-server.
    unpack cyrus-imapd cyrus-common
    unpack courier-imap courier-base
    # For its one program; installed, it would bring a dozen packages of its web pages along, and start.
    unpack prometheus
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID)); then
        echo "tests/lab.sh: ${missing[*]} must be installed: run this as root" >&2
        exit 1
    fi
    scratch
    # No package may start its daemon: the lab starts its own.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    logged apt-get -q update
    DEBIAN_FRONTEND=noninteractive logged apt-get -qy install --no-install-recommends "${missing[@]}"
    remove_policy
}

# Keeps a package's files below cargo's target, where the tests run them from. $2 is an installed package of the
# same source: if that one was renewed, this one is. Without it, whichever version was there first stays.
unpack() {
    local package=$1 version=first cache
    [[ -z ${2-} ]] || version=$(dpkg-query -Wf '${Version}' "$2")
    cache=$(target_directory)/tmp/lab
    [[ ! -d $cache/$package || $(cat "$cache/$package.version" 2>/dev/null) != "$version" ]] || return 0
    scratch
    mkdir -p "$dir/$package" "$cache"
    logged apt-get -q update
    # Both have the same version, unless one alone was built again.
    (cd "$dir/$package" && { apt-get -q download "$package=$version" >"$dir/log" 2>&1 ||
        logged apt-get -q download "$package"; })
    rm -rf "${cache:?}/$package"
    logged dpkg -x "$dir/$package/"*.deb "$cache/$package"
    echo "$version" >"$cache/$package.version"
}

target_directory() {
    (cd "$root" && cargo metadata --no-deps --format-version 1) |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# Runs a command in silence; says what it said, and ends, if it fails.
logged() {
    if ! "$@" >"$dir/log" 2>&1; then
        tail -n 30 "$dir/log" >&2
        echo "tests/lab.sh: this failed: $*" >&2
        exit 1
    fi
}

demo() {
    install_packages
    (cd "$root" && cargo build --release --bin mailferry)
    scratch
    local target
    target=$(target_directory)
    # In the background, so that a signal reaches the trap at once.
    python3 -B "$root/tests/lab/demo.py" "$target/release/mailferry" "$dir/demo" "$@" &
    child=$!
    local code=0
    wait "$child" || code=$?
    child=
    exit "$code"
}

run_tests() {
    install_all
    cd "$root"
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-fail-fast
        cargo test --quiet --doc
    else
        cargo test --no-fail-fast
    fi
}

stress() {
    local seconds=60 clients=20 seed=$RANDOM pair=dovecot
    options "seconds clients seed pair" "$@"
    install_all
    cd "$root"
    echo "pair $pair, $clients clients, $seconds seconds, seed $seed"
    STRESS_SECONDS=$seconds STRESS_CLIENTS=$clients STRESS_SEED=$seed STRESS_PAIR=$pair LAB_LOG=info \
        cargo test --quiet --test stress -- --nocapture
}

mail() {
    local messages=10000 seed=$RANDOM
    options "messages seed" "$@"
    install_all
    cd "$root"
    echo "$messages messages, seed $seed"
    SMTP_KILL_MESSAGES=$messages SMTP_KILL_SEED=$seed LAB_LOG=info \
        cargo test --quiet --test smtp -- --nocapture killed_at_random
}

move() {
    local accounts=20 messages=10000 seed=$RANDOM new=dovecot kills=3 limit=0B
    options "accounts messages seed new kills limit" "$@"
    MOVE_ACCOUNTS=$accounts MOVE_MESSAGES=$messages MOVE_SEED=$seed MOVE_NEW=$new MOVE_KILLS=$kills \
        MOVE_LIMIT=$limit MOVE_AS_SHIPPED=1 MOVE_ALONE_MILLIS=15000 MOVE_EVERY_MILLIS=30000 MOVE_LOOK_MILLIS=2000 MOVE_TELL=1 moving judged
}

again() {
    local folders=4841 messages=166807 new=dovecot
    options "folders messages new" "$@"
    AGAIN_FOLDERS=$folders AGAIN_MESSAGES=$messages AGAIN_NEW=$new moving again
}

limit() {
    install_all
    cd "$root"
    LIMIT_BYTES=1000000 LIMIT_MESSAGES=1300 cargo test --quiet --test trickle -- --nocapture a_byte_limit
}

# Runs one of the measures of moving, of the program as it is released.
moving() {
    install_all
    cd "$root"
    cargo build --quiet --release --bin mailferry
    # The log as it is in service, not as tests want it.
    LAB_MAILFERRY=$(target_directory)/release/mailferry LAB_LOG=warn \
        cargo test --quiet --test migration -- --nocapture "$1"
}

bench() {
    packages+=("${rivals[@]}")
    install_packages
    cd "$root"
    # The log as it is in service, not as tests want it.
    LAB_LOG=warn cargo bench --quiet --bench speed -- "$@"
}

# A directory for this run, in memory where there is such, which the servers' users may enter.
scratch() {
    [[ -z ${dir-} ]] || return 0
    local memory=/dev/shm
    [[ -w $memory ]] || memory=${TMPDIR:-/tmp}
    dir=$(mktemp -d "$memory/mailferry.XXXXXX")
    chmod 755 "$dir"
}

remove_policy() {
    [[ -z ${policy-} ]] || rm -f "$policy"
    policy=
}

clean_up() {
    # demo.py ends its servers itself when it is asked to end.
    if [[ -n ${child-} ]]; then
        kill -TERM "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    remove_policy
    [[ -z ${dir-} ]] || rm -rf "$dir"
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

main "$@"
