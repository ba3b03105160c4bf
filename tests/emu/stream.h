/* stream.h - streams that keep their work, events, and the one lock of the stand-in. */
#ifndef LT_EMU_STREAM_H
#define LT_EMU_STREAM_H

#include <cuda_runtime_api.h>

#include "tests/emu/emu.h"
#include "tests/emu/modules.h"
#include "tests/emu/warp.h"

typedef struct emu_copy {
    uint64_t to, from;
    size_t to_pitch, from_pitch, width, rows;
    enum cudaMemcpyKind kind;
} emu_copy;

void emu_enter(void);
void emu_leave(void);

/* With the lock held. */

/* An error that the next cudaGetLastError tells; what: a line, or NULL. */
cudaError_t emu_fails(cudaError_t error, const char *what);
/* Something is wrong in a kernel or in queued work: the device is done for. */
void emu_breaks(const char *what);
/* cudaSuccess, or the error that stays. */
cudaError_t emu_state(void);
int emu_do_copy(const emu_copy *c);
void emu_run_all(void);
/* counts.c: a launch that ran; a product of cuBLASLt that ran. */
void emu_note_launch(const ptx_launch *l, const ptx_counts *c);
void emu_note_product(void);

/* Takes the lock itself. */
cudaError_t emu_queue_kernel(cudaStream_t stream, const ptx_launch *launch);
cudaError_t emu_queue_copy(cudaStream_t stream, const emu_copy *copy);
cudaError_t emu_queue_value(cudaStream_t stream, const uint32_t *at, uint32_t value);

#endif
