#!/bin/sh
# bugs.sh - exchange_nccl.c once a bug: the file with one thing wrong, and names of its own.
#
# test_nccl.c says which case has to find it. A change that finds nothing to change ends the build, so that a bug does
# not vanish when the source moves.
#   bugs.sh SOURCE FOLDER     makes FOLDER/bug_NAME.c for each line below, and FOLDER/nccl_bugs.inc
set -eu
source=$1
folder=$2
mkdir -p "$folder"
: > "$folder/nccl_bugs.inc"

bug() { # NAME EXPRESSION...
    name=$1
    shift
    {
        printf '#define lt_exchange_nccl lt_exchange_nccl_%s\n#define lt_nccl_found lt_nccl_found_%s\n' "$name" "$name"
        for e in "$@"; do printf '%s\n' "$e"; done | sed -f /dev/stdin "$source"
    } > "$folder/bug_$name.c"
    if sed 1,2d "$folder/bug_$name.c" | cmp -s - "$source"; then
        echo "bugs.sh: $name changes nothing in $source" >&2
        exit 1
    fi
    printf 'BUG(%s)\n' "$name" >> "$folder/nccl_bugs.inc"
}

# Nobody polls: the next call comes while the communicator is in progress.
unpolled='s/    return settle(link, name);/    return LT_OK;/'
bug unpolled "$unpolled"
# It is polled, but after `done` was recorded: before the next group only.
late='s/    ncclResult_t result = ncclGroupStart();/    LT_TRY(settle(link, name)); ncclResult_t result = ncclGroupStart();/'
bug done_early "$unpolled" "$late"
# Pairs meet, and take memory, at their first exchange.
bug unconnected 's/        st = connect_all(link);/        st = LT_OK;/'
# The receiver has an empty message, the sender has none.
bug empty_received 's/if (lt_link_bytes(&t->recv) > 0)/if (t->recv.ndim > 0)/'
# Half of the ranks go through the list backwards: what is of one size changes places.
bug other_order 's/queue_one(link, stream, &list\[i\])/queue_one(link, stream, \&list[link->head.group->rank % 2 ? count - 1 - i : i])/'
# On the copy queue's stream, which waits for nothing.
bug other_stream 's/((lt_cuda_queue \*)comm)->stream/lt_cuda.queues->stream/'
bug all_ctas 's/config.maxCTAs = RING_CTAS;/;/'
bug blocking 's/config.blocking = 0;/config.blocking = 1;/'
# What went wrong meanwhile is not looked at.
bug blind 's/if (state != ncclSuccess && state != ncclInProgress)/if (0)/'
bug shared_device 's/if (memcmp(all\[i\].device, all\[k\].device, sizeof all\[i\].device) == 0)/if (0)/'
bug any_version 's/all\[i\].version < VERSION_LEAST/0/' 's/all\[i\].version != all\[0\].version/0/'
# A sync blocks inside CUDA, and nobody knows in which exchange.
bug blocked_sync 's/    lt_cuda.waiting = while_waiting;/    ;/'
# A failed rank waits for its streams, and asks NCCL for an orderly end.
bug not_given_up 's/((nccl_link \*)link)->given_up = 1;/(void)link;/'
