/* host.h - where this process runs: the one notion of "the same host" and "the same node".
 *
 *     host    a machine as it runs now: its name and its boot's id. What it has (processors,
 *             memory, files in its caches) is shared by its ranks.
 *     node    a host, or, where the environment LONGTAKE_NODE=TEXT is set, all ranks with that
 *             text: for tests, for containers that have names of their own, and for clusters where
 *             something larger or smaller than a host counts. It decides which ranks are near:
 *             for placement, and for the reading of a model's files.
 *
 * All bytes of these structs count, also those behind the texts: they are 0, so that they can be
 * sent and compared whole. All functions are Local. Tested: tests/unit/test_host.c. */
#ifndef LT_HOST_H
#define LT_HOST_H

#include <stdint.h>

#include "base/status.h"

enum {
    LT_HOST_NAME_BYTES = 65, /* Linux: HOST_NAME_MAX is 64 */
    LT_HOST_BOOT_BYTES = 40,
    LT_NODE_TEXT_BYTES = 64 /* of LONGTAKE_NODE, with its NUL */
};

typedef struct lt_host_id {
    char name[LT_HOST_NAME_BYTES]; /* gethostname; "localhost" if it has none */
    char boot[LT_HOST_BOOT_BYTES]; /* /proc/sys/kernel/random/boot_id; "" where there is none */
    uint64_t processes;            /* inode of the namespace of process numbers; 0: unknown */
} lt_host_id;

/* Where this process is. Never fails. */
void lt_host_me(lt_host_id *out);
/* One machine, in one boot. */
int lt_host_same(const lt_host_id *a, const lt_host_id *b);
/* One machine, and each sees the other's processes by number. */
int lt_host_shares_processes(const lt_host_id *a, const lt_host_id *b);

typedef struct lt_node_id {
    char name[LT_HOST_NAME_BYTES]; /* as messages show it: host name, or LONGTAKE_NODE's text */
    char boot[LT_HOST_BOOT_BYTES];
    char given; /* 1: by LONGTAKE_NODE, which never equals a host's name */
} lt_node_id;

/* Errors: LT_EUSAGE (LONGTAKE_NODE too long). */
lt_status lt_node_me(lt_node_id *out);
int lt_node_same(const lt_node_id *a, const lt_node_id *b);

#endif
