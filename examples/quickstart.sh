#!/usr/bin/env bash
# maestro at work in half a minute: a simulated LDMS cluster on loopback, an aggregator that fails, and one that returns.
#
#   examples/quickstart.sh            # the show; stops all that it has started
#   examples/quickstart.sh --keep     # the same, and leaves the cluster running to play with
#   examples/quickstart.sh --sets     # balanced by metric sets: one sampler weighs as much as all others together
#
# Installs what is missing (on Debian, with apt-get), builds maestro, and writes nothing else outside a temporary directory.
set -euo pipefail

keep=false balanced_by=producers all_sets=16
for argument; do
    case "$argument" in
        --keep) keep=true ;;
        --sets) balanced_by=sets all_sets=20 ;;
        *) echo "usage: $0 [--keep] [--sets]" >&2; exit 2 ;;
    esac
done

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$project"
. tests/prerequisites.sh
need_all
cargo build --locked --bins --example ldmsd_sim
built="$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug"

# ------------------------------------------------------------------------------------------------------- showing things

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' blue=$'\e[34m' plain=$'\e[0m'; else bold='' dim='' blue='' plain=''; fi

heading() { printf '\n%s── %s ──%s\n' "$bold$blue" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }

# Runs a command in the directory of the show, as a user would type it.
run() {
    show_command "$@"
    "$@" 2>&1
}
show_command() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }

# Shows what maestro has logged since the last time.
log_seen=0
show_log() {
    tail -n +$((log_seen + 1)) maestro.log |
        sed -E 's/^[0-9-]+T([0-9:]+\.[0-9]{3})[0-9]*Z/\1/; /.{100}/s/; /;\n                   /' |
        sed "s/^/$dim/; s/\$/$plain/"
    log_seen=$(wc -l <maestro.log)
}

# -------------------------------------------------------------------------------------------- starting and stopping things

dir="$(mktemp -d "${TMPDIR:-/tmp}/maestro-quickstart.XXXXXX")"
cd "$dir"
PATH="$built:$built/examples:$PATH"
cp "$project/config/orion.yaml" .
if [ $balanced_by = sets ]; then
    # Four more sets on one sampler, of some kilobytes a second.
    sed -i -e '/^samplers:/a\  - { daemons: orion-1, plugins: [ net-1, net-2, net-3, net-4 ] }' orion.yaml
    for number in 1 2 3 4; do
        plugin="  net-$number: { name: procnetdev2, interval: 1s, offset: 0s, config: [ { schema: net } ] }"
        sed -i -e "/^plugins:/a\\$plugin" orion.yaml
    done
fi

# Ends what was started here: the processes with their pids in `pids` that still work in this directory.
cat >stop <<'STOP'
#!/bin/sh
cd "$(dirname "$0")" && here="$(pwd -P)" || exit
tac pids | while read -r pid; do
    if [ "$(readlink "/proc/$pid/cwd")" = "$here" ]; then
        kill "$pid" && tail -f /dev/null --pid="$pid" -s 0.05
    fi
done
cd / && rm -r "$here"
STOP
chmod +x stop
: >pids

finish() {
    status=$?
    trap - EXIT INT TERM
    if [ "$status" -eq 0 ] && $keep; then exit 0; fi
    ./stop
    exit "$status"
}
trap finish EXIT
trap 'trap "" INT TERM; ./stop; trap - EXIT; echo; echo "interrupted; everything is stopped"; exit 130' INT TERM

fail() {
    {
        say "quickstart: $1; the last lines of the logs:"
        tail -n 5 ./*.log
    } >&2
    exit 1
}

# Starts a program in the background, in a session of its own so that Ctrl-C reaches this script alone.
# $1: the name of its log, the rest: the command.
start() {
    local name=$1
    shift
    setsid "$@" >"$name.log" 2>&1 </dev/null &
    echo "$!" >>pids
}

# Waits until a command succeeds. $1: for what, the rest: the command.
wait_until() {
    local give_up=$((SECONDS + 30)) what=$1
    shift
    until "$@"; do
        [ "$SECONDS" -le "$give_up" ] || fail "it takes too long until $what"
        while read -r pid; do
            kill -0 "$pid" 2>/dev/null || fail "a program has ended before $what"
        done <pids
        sleep 0.02
    done
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

now_ms() { date +%s%3N; }
time_since() { printf '%d.%03d s' $((($(now_ms) - $1) / 1000)) $((($(now_ms) - $1) % 1000)); }

# -------------------------------------------------------------------------------------------------- looking at the cluster

status() { ldmsd_sim status --dir sim; }
show_aggregators() { status | sed '/^samplers/,$d'; }

# Whether both levels of aggregators have all metric sets, ready to be updated.
all_is_ready() {
    status | awk -v all="$all_sets" '/^level/ { level = $2 } $2 == "up" { sets[level] += $6 }
        END { exit !(sets[1] == all && sets[2] == all) }'
}
# Whether both levels have also collected a sample of each.
all_is_collected() {
    all_is_ready &&
        status | awk -v all="$all_sets" '/^level/ { level = $2 } $2 == "up" { got[level] += $7 }
            END { exit !(got[1] >= all && got[2] >= all) }'
}

# What each aggregator carries, as maestro said last, in bars.
show_loads() {
    [ $balanced_by = sets ] || return 0
    sed -n 's/.*is balanced by metric sets: //p' maestro.log | tail -n 1 | sed 's/, /\n/g' | awk '{
        bytes = $2 * ($3 == "kB/s" ? 1000 : 1)
        bar = ""
        for (i = 0; i < bytes / 250; i++) bar = bar "█"
        printf "  %-12s %5s %-4s %s\n", $1, $2, $3, bar
    }'
}

# Who collects whom, and nothing that changes all the time.
placement() { status | awk '/ of / { print $1, $NF }'; }
work_is_home() {
    if [ $balanced_by = sets ]; then
        # Whose sets come back is a matter of weight, not of a home.
        [ "$(tail -n +$((log_seen + 1)) maestro.log | grep -c 'is balanced by metric sets')" -gt 0 ] && all_is_ready
    else
        [ "$(placement)" = "$placement_before" ] && all_is_ready
    fi
}

# What has become of the samples since the time $1, on the first level of aggregators. The youngest do not count: they
# may be on their way.
updates_since() {
    ldmsd_sim gaps --dir sim --since "$1" --margin 500ms --all | sed -n '/^LEVEL\|^1 /s/^LEVEL  \|^1      //p'
}
summary_since() { ldmsd_sim gaps --dir sim --since "$1" --margin 500ms | sed -n 's/^level 1: //p'; }
# Whether $2 samples of each sampler have been taken since the time $1, over all its metric sets.
have_passed() { updates_since "$1" | awk -v wanted="$2" 'NR > 1 && $2 < wanted { few = 1 } END { exit few || NR < 9 }'; }

# --------------------------------------------------------------------------------------------------------------- the show

heading "Twelve ldmsds, simulated on loopback; none is configured"
show_command ldmsd_sim up --ldms_config orion.yaml --dir sim
start sim ldmsd_sim up --ldms_config orion.yaml --dir sim
wait_until "the simulated cluster is up" test -e sim/ready
cat sim.log

heading "Load the configuration into an etcd of its own"
client_port=$(free_port) peer_port=$(free_port)
start etcd etcd --name quickstart --data-dir etcd \
    --listen-client-urls "http://127.0.0.1:$client_port" --advertise-client-urls "http://127.0.0.1:$client_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "quickstart=http://127.0.0.1:$peer_port"
printf 'cluster: orion\nmembers:\n  - { host: 127.0.0.1, port: %s }\n' "$client_port" >etcd.yaml
wait_until "etcd is ready" grep -q 'ready to serve client requests' etcd.log
run maestro_ctrl --cluster etcd.yaml --ldms_config orion.yaml

heading "Start maestro: it configures the ldmsds and shares out the work"
began=$(now_ms)
show_command maestro --cluster etcd.yaml --rebalance $balanced_by
start maestro maestro --cluster etcd.yaml --rebalance $balanced_by
wait_until "everything is collected" all_is_collected
took=$(time_since "$began")
show_log
status
show_loads
say "$bold=> All $all_sets metric sets were collected on both levels $took after the start.$plain"
placement_before=$(placement)

heading "Kill an aggregator"
from=$(date +%s.%N)
wait_until "there are updates to compare with" have_passed "$from" 3
began=$(now_ms)
run ldmsd_sim kill --dir sim orion-agg-2
wait_until "the others have taken over" all_is_ready
took=$(time_since "$began")
wait_until "the first updates after the takeover" have_passed "$from" 10
show_log
show_aggregators
show_loads
say "$bold=> The others had all metric sets ready $took after the kill.$plain The updates before and after it:"
updates_since "$from"

heading "Bring it back: its work comes home when it has stayed up for 5 s"
began=$(now_ms) from=$(date +%s.%N)
run ldmsd_sim start --dir sim orion-agg-2
wait_until "its work is home" work_is_home
took=$(time_since "$began")
wait_until "the first updates after the return" have_passed "$from" 14
show_log
show_aggregators
show_loads
say "$bold=> Everything was in its place $took after the start.$plain The updates meanwhile, in short:"
summary_since "$from"

if ! $keep; then
    heading "That was it: everything is stopped"
    exit
fi
heading "The cluster goes on running"
ln -s "$built"/{maestro,maestro_ctrl,examples/ldmsd_sim} .
cat <<COMMANDS
cd $dir
./ldmsd_sim kill --dir sim orion-agg-1      # or start, restart, pause, resume
./ldmsd_sim status --dir sim                # who collects what
./ldmsd_sim gaps --dir sim --since 1m       # what nobody collected
tail maestro.log                            # what maestro says
./maestro_ctrl --cluster etcd.yaml --ldms_config orion.yaml     # after you have changed orion.yaml
./stop                                      # ends everything and removes the directory
COMMANDS
