/* wire.c - memory that the ranks of a communicator share. */
#include "tests/emu/nccl/wire.h"

#include <cuda_runtime_api.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

int wire_new(wire_id *out)
{
    memset(out, 0, sizeof *out);
    out->process = (int32_t)getpid();
    if (getrandom(&out->magic, sizeof out->magic, 0) != (ssize_t)sizeof out->magic)
        return errno;
    out->file = memfd_create("longtake-nccl", MFD_CLOEXEC);
    if (out->file < 0)
        return errno;
    if (ftruncate(out->file, sizeof(wire)) != 0 ||
        pwrite(out->file, &out->magic, sizeof out->magic, 0) != (ssize_t)sizeof out->magic) {
        const int error = errno;
        wire_forget(out);
        return error;
    }
    return 0;
}

int wire_open(const wire_id *id, wire **out)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)id->process, (int)id->file);
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return errno;
    void *at = mmap(NULL, sizeof(wire), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    const int error = errno;
    (void)close(file);
    if (at == MAP_FAILED)
        return error;
    *out = at;
    if ((*out)->magic == id->magic)
        return 0;
    wire_close(*out);
    return ESTALE;
}

void wire_close(wire *w) { (void)munmap(w, sizeof *w); }

void wire_forget(const wire_id *id)
{
    if (id->process == (int32_t)getpid())
        (void)close(id->file);
}

/* ---- messages ---- */

/* At once, and not in any stream's order: the streams of a group wait for it. */
static void copy(void *to, const void *from, uint64_t bytes, enum cudaMemcpyKind kind)
{
    (void)cudaMemcpy2D(to, bytes, from, bytes, bytes, 1, kind);
}

void wire_soil(const wire_end *end)
{
    unsigned char soil[4096];
    memset(soil, 0xff, sizeof soil);
    for (uint64_t at = 0, n; at < end->message.bytes; at += n) {
        n = end->message.bytes - at < sizeof soil ? end->message.bytes - at : sizeof soil;
        copy(end->at + at, soil, n, cudaMemcpyHostToDevice);
    }
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static int move_out(wire_channel *c, wire_end *e)
{
    if (!e->announced) {
        if (atomic_load(&c->sent) != atomic_load(&c->taken))
            return 0; /* the one before it is not taken */
        c->message = e->message;
        atomic_store(&c->filled, 0);
        atomic_store(&c->drained, 0);
        atomic_fetch_add(&c->sent, 1);
        e->announced = 1;
    }
    while (e->moved < e->message.bytes) {
        const uint64_t filled = atomic_load(&c->filled), at = filled % WIRE_DATA_BYTES;
        const uint64_t room = WIRE_DATA_BYTES - (filled - atomic_load(&c->drained));
        const uint64_t n = least(least(room, WIRE_DATA_BYTES - at), e->message.bytes - e->moved);
        if (n == 0)
            return 0;
        copy(c->data + at, e->at + e->moved, n, cudaMemcpyDeviceToHost);
        e->moved += n;
        atomic_store(&c->filled, filled + n);
    }
    return atomic_load(&c->sent) == atomic_load(&c->taken);
}

static int move_in(wire_channel *c, wire_end *e, wire_message *theirs)
{
    if (!e->announced) {
        if (atomic_load(&c->sent) == atomic_load(&c->taken))
            return 0;
        *theirs = c->message;
        if (theirs->count != e->message.count || theirs->type != e->message.type ||
            theirs->turn != e->message.turn)
            return -1;
        e->announced = 1;
    }
    while (e->moved < e->message.bytes) {
        const uint64_t drained = atomic_load(&c->drained), at = drained % WIRE_DATA_BYTES;
        const uint64_t there = atomic_load(&c->filled) - drained;
        const uint64_t n = least(there, WIRE_DATA_BYTES - at);
        if (n == 0)
            return 0;
        copy(e->at + e->moved, c->data + at, n, cudaMemcpyHostToDevice);
        e->moved += n;
        atomic_store(&c->drained, drained + n);
    }
    atomic_fetch_add(&c->taken, 1);
    return 1;
}

int wire_move(wire_channel *channel, wire_end *end, wire_message *theirs)
{
    return end->is_send ? move_out(channel, end) : move_in(channel, end, theirs);
}

int wire_has_turn(wire_channel *channel, uint64_t turn)
{
    return atomic_load(&channel->sent) != atomic_load(&channel->taken) &&
           channel->message.turn == turn;
}
