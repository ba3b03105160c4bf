/* owner.h - which process made something, and whether it still runs.
 *
 * A process number alone says little: it is given again to another process, means another one in
 * each container, and nothing on another host. So a process is named by host, boot, namespace of
 * process numbers, number and start time (clock ticks since that boot).
 *
 *   same boot, same namespace    the number and its start time are looked up in /proc: certain
 *   same host, other boot        it ended with that boot (unless the host's name is nobody's own:
 *                                "localhost")
 *   anything else                cannot be told from here
 *
 * All functions are Local and never fail. Tested: tests/unit/test_new_file.c. */
#ifndef LT_OWNER_H
#define LT_OWNER_H

#include <stdint.h>

#include "base/host.h"

typedef struct lt_owner {
    char host[LT_HOST_NAME_BYTES]; /* as the next two: of lt_host_id */
    char boot[LT_HOST_BOOT_BYTES];
    uint64_t space;
    int64_t pid;
    uint64_t start;
} lt_owner;

typedef enum { LT_OWNER_GONE, LT_OWNER_RUNS, LT_OWNER_UNKNOWN } lt_owner_state;

/* This process. It is looked up anew after a fork. */
void lt_owner_me(lt_owner *out);
lt_owner_state lt_owner_look(const lt_owner *owner);

/* 32 bits of a text, for names that shall say little: FNV-1a. */
uint32_t lt_owner_hash(const char *text);
/* As lt_owner_look, where host and boot are known by their hashes alone. */
lt_owner_state lt_owner_look_hashed(uint32_t host, uint32_t boot, const lt_owner *rest);

#endif
