/* mux_boxes.c - what FFmpeg's muxer leaves out of a fragmented MP4's head.
 *
 * The growing file is `ftyp moov moof mdat moof mdat ... mfra`. moov holds the edit lists; the
 * audio's points behind the padding (mux_audio.c), and by ISO 14496-12 that is enough. FFmpeg's
 * own reader takes the edit list of a fragmented file as a shift of times only
 * and still gives the padding out: up to 64 ms of silence before the film. It does honour
 * "iTunSMPB" (how many samples to skip), the text that Apple writes beside the edit list, but the
 * muxer cannot write it. So the head is given a genre of SLOT_BYTES spaces, and once moov is
 * complete in the file that box is overwritten by an iTunSMPB box of the same size: nothing else
 * moves. If the box is not there, nothing is written and a warning says so.
 *
 * Tried: FFmpeg's `dash` (an index before each fragment); its reader then takes the audio's
 * duration from the first fragment alone. Sources: ISO 14496-12 (boxes; 8.6.6 edit lists); '----'
 * boxes as iTunes writes them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "media/mux_internal.h"

enum { SLOT_BYTES = 180, HEAD_BYTES_MAX = 1 << 20 };

/* Spaces: a file that was cut before it was amended shows an empty genre. */
const char lt_mux_head_slot[SLOT_BYTES + 1] =
    "                                                                                          "
    "                                                                                          ";

static uint32_t read_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t read_be64(const uint8_t *p)
{
    return (uint64_t)read_be32(p) << 32 | read_be32(p + 4);
}

static uint8_t *put_be32(uint8_t *p, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *p++ = (uint8_t)(value >> shift);
    return p;
}

static uint8_t *put_text(uint8_t *p, const char *text)
{
    const size_t bytes = strlen(text);
    memcpy(p, text, bytes);
    return p + bytes;
}

/* An iTunSMPB box of exactly `bytes` bytes; 0 if it does not fit. */
static int smpb_box(uint8_t *box, size_t bytes, int padding, int64_t samples)
{
    char text[256];
    /* version, samples to skip, samples to cut at the end, samples of the film, words of no use to
     * us */
    const int length =
        snprintf(text, sizeof text,
                 " 00000000 %08X 00000000 %016llX 00000000 00000000 00000000 00000000"
                 " 00000000 00000000 00000000 00000000",
                 (unsigned)padding, (unsigned long long)samples);
    const size_t before = 8 + 28 + 20; /* the box's own head, mean, name */
    if (length < 0 || bytes < before + 16 + (size_t)length)
        return 0;
    memset(box, ' ', bytes);
    uint8_t *p = put_text(put_be32(box, (uint32_t)bytes), "----");
    p = put_text(put_be32(put_text(put_be32(p, 28), "mean"), 0), "com.apple.iTunes");
    p = put_text(put_be32(put_text(put_be32(p, 20), "name"), 0), "iTunSMPB");
    p = put_text(put_be32(p, (uint32_t)(bytes - before)), "data");
    put_text(put_be32(put_be32(p, 1), 0), text); /* 1: UTF-8 */
    return 1;
}

/* Where the box "(c)gen" that holds the slot begins in a head; 0 if nowhere. */
static size_t slot_find(const uint8_t *head, size_t bytes)
{
    static const uint8_t name[4] = {0xa9, 'g', 'e', 'n'};
    for (size_t i = 8; i + SLOT_BYTES < bytes; i++) {
        if (memcmp(head + i, name, sizeof name))
            continue;
        const size_t size = read_be32(head + i - 4);
        if (size > SLOT_BYTES && size <= SLOT_BYTES + 64 && i - 4 + size <= bytes &&
            !memcmp(head + i - 4 + size - SLOT_BYTES, lt_mux_head_slot, SLOT_BYTES))
            return i - 4;
    }
    return 0;
}

static lt_status overwrite(lt_mux *mux, const uint8_t *data, size_t bytes, int64_t at)
{
    const ssize_t done = pwrite(mux->fd, data, bytes, (off_t)at);
    if (done == (ssize_t)bytes)
        return LT_OK;
    mux->io_errno = done < 0 ? errno : ENOSPC;
    return lt_mux_fail(mux, 0, "amending");
}

static lt_status amend_moov(lt_mux *mux, int64_t at, int64_t size)
{
    if (size > HEAD_BYTES_MAX)
        return LT_OK;
    uint8_t *head = malloc((size_t)size);
    if (!head)
        LT_FAIL(LT_ENOMEM, "no memory for a file's head");
    uint8_t box[SLOT_BYTES + 64];
    size_t slot = 0, box_bytes = 0;
    if (pread(mux->fd, head, (size_t)size, (off_t)at) == size)
        slot = slot_find(head, (size_t)size);
    if (slot)
        box_bytes = read_be32(head + slot);
    free(head);
    if (!slot || !smpb_box(box, box_bytes, mux->audio_padding, mux->plan.samples)) {
        lt_warn(
            "%s: no place for the sound's padding in the file: some players will play it %d samples"
            " late",
            mux->path, mux->audio_padding);
        return LT_OK;
    }
    return overwrite(mux, box, box_bytes, at + (int64_t)slot);
}

lt_status lt_mux_boxes_amend(lt_mux *mux)
{
    if (!mux->plan.fragments || !mux->audio_padding)
        return LT_OK;
    while (!mux->head_amended) {
        uint8_t head[16];
        const int64_t at = mux->boxes_done;
        if (at + (int64_t)sizeof head > mux->bytes ||
            pread(mux->fd, head, sizeof head, (off_t)at) != (ssize_t)sizeof head)
            return LT_OK;
        int64_t size = read_be32(head);
        if (size == 1)
            size = (int64_t)(read_be64(head + 8) & INT64_MAX); /* a long box */
        if (size < 8 || size > mux->bytes - at)
            return LT_OK; /* still being written */
        mux->boxes_done = at + size;
        if (!memcmp(head + 4, "moov", 4)) {
            mux->head_amended = 1;
            return amend_moov(mux, at, size);
        }
    }
    return LT_OK;
}
