#!/bin/bash
# hosts.sh - several hosts on one machine: network namespaces on a bridge, each host with its own
# name, /etc/hosts and /dev/shm, so that ranks of two hosts reach each other by tcp only. Root.
#   hosts.sh up DIR N         N hosts; DIR keeps what belongs to them, DIR/name their prefix
#   hosts.sh run DIR I CMD..  run a command on host I (1..N)
#   hosts.sh rsh DIR NAME CMD launch agent for mpirun: --mca plm_rsh_agent "bash hosts.sh rsh DIR"
#   hosts.sh cut DIR I        pull the plug of host I
#   hosts.sh down DIR         take all of it away
set -e
verb=$1
dir=$2
shift 2

enter() {
    local host=$1
    shift
    exec nsenter --net="/run/netns/$host" unshare -u -m bash -c '
        hostname "$1"
        mount --make-rprivate /
        mount --bind "$2/hosts" /etc/hosts
        mount -t tmpfs tmpfs /dev/shm
        shift 2
        exec "$@"' enter "$host" "$dir" "$@"
}

case $verb in
up)
    name=lt$$
    echo "$name" >"$dir/name"
    echo "127.0.0.1 localhost" >"$dir/hosts"
    ip netns add "${name}s"
    ip -n "${name}s" link add br0 type bridge
    ip -n "${name}s" link set br0 up
    for i in $(seq "$1"); do
        echo "10.77.0.$i $name$i" >>"$dir/hosts"
        ip netns add "$name$i"
        ip link add "v$i" netns "$name$i" type veth peer name "p$i" netns "${name}s"
        ip -n "${name}s" link set "p$i" master br0 up
        ip -n "$name$i" addr add "10.77.0.$i/24" dev "v$i"
        ip -n "$name$i" link set "v$i" up
        ip -n "$name$i" link set lo up
    done
    ;;
run)
    host=$(cat "$dir/name")$1
    shift
    enter "$host" "$@"
    ;;
rsh)
    while [[ $1 == -* ]]; do shift; done
    host=$1
    shift
    enter "$host" bash -c "$*"
    ;;
cut) ip -n "$(cat "$dir/name")s" link set "p$1" down ;;
down)
    name=$(cat "$dir/name")
    for space in $(ip netns list | awk -v n="$name" 'index($1, n) == 1 { print $1 }'); do
        for pid in $(ip netns pids "$space"); do kill -9 "$pid" 2>/dev/null || true; done
        ip netns del "$space"
    done
    ;;
*)
    echo "hosts.sh: unknown verb $verb" >&2
    exit 64
    ;;
esac
