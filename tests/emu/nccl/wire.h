/* wire.h - memory that the ranks of a communicator share: what standin.c's messages travel over.
 *
 * A communicator has one block, made by the rank that makes the unique id, without a name in any
 * folder: the others open it by the maker's process, so nothing stays when processes are killed.
 * From each rank to each other goes a channel, which holds one message at a time:
 *
 *     sender     announces (count, type, turn), then fills `data` as it is drained
 *     receiver   compares the announcement with its own call, drains, and acknowledges
 *
 * So a send ends only when the peer's receive has taken it, however small it is. Nothing here
 * blocks. Tested by all of tests/emu/nccl. */
#ifndef LT_EMU_WIRE_H
#define LT_EMU_WIRE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_RANKS_MAX = 16, WIRE_DATA_BYTES = 1 << 16, WIRE_WORDS_BYTES = 240 };

/* What a call says of its message. */
typedef struct wire_message {
    uint64_t count, bytes;
    uint64_t turn; /* the how-many-th message between these two processes, over all communicators */
    int32_t type;
} wire_message;

typedef struct wire_channel {
    _Atomic uint64_t sent, taken; /* messages announced; received whole */
    _Atomic uint64_t filled, drained;
    _Atomic int connected[2]; /* sender, receiver: has it met the other end? */
    wire_message message;
    unsigned char data[WIRE_DATA_BYTES];
} wire_channel;

typedef struct wire {
    uint64_t magic;
    _Atomic int arrived, finalised, broken; /* ranks; ranks; a result code for all of them */
    _Atomic int broken_words;               /* 1: words are written */
    int32_t process[WIRE_RANKS_MAX];
    char words[WIRE_WORDS_BYTES];
    wire_channel channel[WIRE_RANKS_MAX][WIRE_RANKS_MAX]; /* [from][to] */
} wire;

/* Where a block is; fits into a unique id. */
typedef struct wire_id {
    uint64_t magic;
    int32_t process, file;
} wire_id;

/* 0: done; else errno's reason. */
int wire_new(wire_id *out);
int wire_open(const wire_id *id, wire **out);
void wire_close(wire *w);
/* The maker, once all have opened it. */
void wire_forget(const wire_id *id);

/* One end of a message that is under way; `at` is the device's. */
typedef struct wire_end {
    wire_message message;
    char *at;
    uint64_t moved;
    int is_send, announced;
} wire_end;

/* Move what can be moved: 1 done, 0 not yet, -1 the other end says something else (*theirs). */
int wire_move(wire_channel *channel, wire_end *end, wire_message *theirs);
/* What a receive finds at `at` until its message comes: NaN. */
void wire_soil(const wire_end *end);
/* Is a message with this turn announced? */
int wire_has_turn(wire_channel *channel, uint64_t turn);

#endif
