/* timeline.c - samples in a file or in memory, and which of them are there.
 * Each channel is a plane of `samples` floats; in a file, plane c begins at byte 4 * c * samples.
 * What was written is kept as ranges in order, joined where they touch: in order writing keeps one
 * range. WAV: RIFF, "fmt " (PCM), "data"; lengths are 32 bits, hence the limit of 4 GiB. */
#include "media/timeline.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/file.h"
#include "base/new_file.h"

enum { CHANNELS_MAX = 8, WAV_BLOCK = 4096, WAV_HEAD_BYTES = 44, WAV_SAMPLE_BYTES = 3 };

typedef struct span {
    int64_t first, end;
} span;

struct lt_timeline {
    int rate, channels;
    int64_t samples;
    float *memory; /* NULL: in the file */
    int fd;
    char *path; /* for messages */
    span *spans;
    size_t span_count, span_room;
};

lt_status lt_timeline_new(int rate, int channels, int64_t samples, const char *path,
                          lt_timeline **out)
{
    *out = NULL;
    if (rate < 1 || channels < 1 || channels > CHANNELS_MAX || samples < 0 ||
        samples > INT64_MAX / 64)
        LT_FAIL(LT_ESHAPE,
                "sound: want a rate of 1 or more, 1 to 8 channels, samples of 0 or more, "
                "found %d, %d, %lld",
                rate, channels, (long long)samples);
    lt_timeline *t = calloc(1, sizeof *t);
    if (!t)
        LT_FAIL(LT_ENOMEM, "sound: no memory");
    t->rate = rate;
    t->channels = channels;
    t->samples = samples;
    t->fd = -1;
    lt_status status = LT_OK;
    if (path) {
        t->path = strdup(path);
        if (!t->path)
            LT_FAIL_GOTO(LT_ENOMEM, status, fail, "%s: no memory for a path", path);
        LT_TRY_GOTO(lt_new_file_scratch(path, &t->fd), status, fail);
    } else {
        t->memory = calloc((size_t)samples * (size_t)channels + 1, sizeof *t->memory);
        if (!t->memory)
            LT_FAIL_GOTO(LT_ENOMEM, status, fail, "sound: no memory for %lld samples",
                         (long long)samples);
    }
    *out = t;
    return LT_OK;
fail:
    lt_timeline_free(&t);
    return status;
}

void lt_timeline_free(lt_timeline **timeline)
{
    lt_timeline *t = *timeline;
    *timeline = NULL;
    if (!t)
        return;
    if (t->fd >= 0)
        (void)close(t->fd);
    free(t->path);
    free(t->memory);
    free(t->spans);
    free(t);
}

int lt_timeline_rate(const lt_timeline *timeline) { return timeline->rate; }

int lt_timeline_channels(const lt_timeline *timeline) { return timeline->channels; }

int64_t lt_timeline_samples(const lt_timeline *timeline) { return timeline->samples; }

static lt_status check_range(const lt_timeline *t, int64_t first, int64_t count)
{
    if (first < 0 || count < 0 || first > t->samples - count)
        LT_FAIL(LT_ESHAPE, "sound: want samples in [0, %lld), asked %lld from %lld",
                (long long)t->samples, (long long)count, (long long)first);
    return LT_OK;
}

/* Join [first, end) into the ranges. */
static lt_status span_add(lt_timeline *t, int64_t first, int64_t end)
{
    size_t low = 0;
    while (low < t->span_count && t->spans[low].end < first)
        low++;
    size_t high = low; /* spans[low..high) touch the new one */
    while (high < t->span_count && t->spans[high].first <= end) {
        first = t->spans[high].first < first ? t->spans[high].first : first;
        end = t->spans[high].end > end ? t->spans[high].end : end;
        high++;
    }
    if (low == high && t->span_count == t->span_room) {
        const size_t room = t->span_room ? 2 * t->span_room : 16;
        span *grown = realloc(t->spans, room * sizeof *grown);
        if (!grown)
            LT_FAIL(LT_ENOMEM, "sound: no memory for %zu ranges", room);
        t->spans = grown;
        t->span_room = room;
    }
    memmove(t->spans + low + 1, t->spans + high, (t->span_count - high) * sizeof *t->spans);
    t->span_count = t->span_count + 1 - (high - low);
    t->spans[low] = (span){first, end};
    return LT_OK;
}

int64_t lt_timeline_gap(const lt_timeline *timeline, int64_t from)
{
    for (size_t i = 0; i < timeline->span_count; i++)
        if (from >= timeline->spans[i].first && from < timeline->spans[i].end)
            from = timeline->spans[i].end;
    return from < timeline->samples ? from : timeline->samples;
}

lt_status lt_timeline_write(lt_timeline *timeline, int64_t first, const float *const *pcm,
                            int64_t count)
{
    lt_timeline *t = timeline;
    LT_TRY(check_range(t, first, count));
    if (count == 0)
        return LT_OK;
    for (int c = 0; c < t->channels; c++) {
        const int64_t at = c * t->samples + first;
        const char *from = (const char *)pcm[c];
        size_t left = (size_t)count * sizeof(float);
        if (t->memory) {
            memcpy(t->memory + at, from, left);
            continue;
        }
        off_t offset = (off_t)at * (off_t)sizeof(float);
        while (left > 0) {
            const ssize_t n = pwrite(t->fd, from, left, offset);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                LT_FAIL(LT_EIO, "%s: writing sound: %s", t->path, strerror(n < 0 ? errno : ENOSPC));
            from += n;
            offset += n;
            left -= (size_t)n;
        }
    }
    return span_add(t, first, first + count);
}

lt_status lt_timeline_read(const lt_timeline *timeline, int64_t first, float *const *pcm,
                           int64_t count)
{
    const lt_timeline *t = timeline;
    LT_TRY(check_range(t, first, count));
    if (count == 0)
        return LT_OK;
    const int64_t gap = lt_timeline_gap(t, first);
    if (gap < first + count)
        LT_FAIL(LT_ESHAPE, "sound: sample %lld was never written (asked %lld from %lld)",
                (long long)gap, (long long)count, (long long)first);
    for (int c = 0; c < t->channels; c++) {
        const int64_t at = c * t->samples + first;
        const size_t bytes = (size_t)count * sizeof(float);
        if (t->memory)
            memcpy(pcm[c], t->memory + at, bytes);
        else
            LT_TRY(lt_file_pread_full(t->fd, t->path, pcm[c], bytes, at * (int64_t)sizeof(float)));
    }
    return LT_OK;
}

static uint8_t *put_le(uint8_t *p, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (uint8_t)(value >> (8 * i));
    return p;
}

static void wav_head(const lt_timeline *t, uint32_t data_bytes, uint8_t head[WAV_HEAD_BYTES])
{
    const uint32_t frame_bytes = (uint32_t)(t->channels * WAV_SAMPLE_BYTES);
    memcpy(head, "RIFF....WAVEfmt ", 16);
    put_le(head + 4, WAV_HEAD_BYTES - 8 + data_bytes + (data_bytes & 1), 4);
    uint8_t *p = put_le(head + 16, 16, 4);
    p = put_le(p, 1, 2); /* PCM */
    p = put_le(p, (uint32_t)t->channels, 2);
    p = put_le(p, (uint32_t)t->rate, 4);
    p = put_le(p, (uint32_t)t->rate * frame_bytes, 4);
    p = put_le(p, frame_bytes, 2);
    p = put_le(p, 8 * WAV_SAMPLE_BYTES, 2);
    memcpy(p, "data", 4);
    put_le(p + 4, data_bytes, 4);
}

static lt_status wav_data(int fd, const char *path, const lt_timeline *t)
{
    const size_t channels = (size_t)t->channels;
    float *planes = malloc(channels * WAV_BLOCK * sizeof *planes);
    uint8_t *bytes = malloc(channels * WAV_BLOCK * WAV_SAMPLE_BYTES);
    float *pcm[CHANNELS_MAX];
    lt_status status = LT_OK;
    if (!planes || !bytes)
        LT_FAIL_GOTO(LT_ENOMEM, status, done, "%s: no memory", path);
    for (size_t c = 0; c < channels; c++)
        pcm[c] = planes + c * WAV_BLOCK;
    for (int64_t first = 0; first < t->samples; first += WAV_BLOCK) {
        const int64_t count = t->samples - first < WAV_BLOCK ? t->samples - first : WAV_BLOCK;
        LT_TRY_GOTO(lt_timeline_read(t, first, pcm, count), status, done);
        uint8_t *p = bytes;
        for (int64_t i = 0; i < count; i++) {
            for (size_t c = 0; c < channels; c++) {
                const float x = pcm[c][i] * 8388608.0f;
                if (!isfinite(x))
                    LT_FAIL_GOTO(LT_EDATA, status, done,
                                 "%s: sample %lld of channel %zu is NaN or Inf", path,
                                 (long long)(first + i), c);
                const float clipped = x > 8388607.0f    ? 8388607.0f
                                      : x < -8388608.0f ? -8388608.0f
                                                        : x;
                p = put_le(p, (uint32_t)lrintf(clipped), WAV_SAMPLE_BYTES);
            }
        }
        LT_TRY_GOTO(lt_file_write_full(fd, path, bytes, (size_t)(p - bytes)), status, done);
    }
done:
    free(planes);
    free(bytes);
    return status;
}

static lt_status wav_file(int fd, const char *path, const lt_timeline *t, uint32_t data_bytes)
{
    uint8_t head[WAV_HEAD_BYTES];
    wav_head(t, data_bytes, head);
    LT_TRY(lt_file_write_full(fd, path, head, sizeof head));
    LT_TRY(wav_data(fd, path, t));
    if (data_bytes & 1) /* chunks of a RIFF file have even lengths */
        LT_TRY(lt_file_write_full(fd, path, "", 1));
    return LT_OK;
}

lt_status lt_wav_write(const char *path, const lt_timeline *timeline, lt_replace replace)
{
    assert(path && timeline);
    lt_new_file file;
    const int64_t bytes_max = INT64_C(0xfffffff0) - WAV_HEAD_BYTES;
    const int64_t frame_bytes = timeline->channels * WAV_SAMPLE_BYTES;
    if (timeline->samples > bytes_max / frame_bytes)
        LT_FAIL(LT_EUSAGE, "%s: a WAV file holds at most %lld samples, found %lld", path,
                (long long)(bytes_max / frame_bytes), (long long)timeline->samples);
    LT_TRY(lt_new_file_open(path, &file));
    lt_status status =
        wav_file(file.fd, path, timeline, (uint32_t)(timeline->samples * frame_bytes));
    if (status == LT_OK)
        status = lt_new_file_done(&file, replace);
    lt_new_file_drop(&file);
    return status;
}
