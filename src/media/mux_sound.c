/* mux_sound.c - samples into the sound encoder.
 *
 * AAC codes blocks of 1024 samples that overlap by half: its first packet (the priming) decodes to
 * nothing of use, and the last packet of a film is longer than the film. Players cut the beginning
 * by the container's word (an edit list in MP4), all of them exactly; few cut the end. So the end
 * is made to fit: before sample 0 the encoder is given as much silence as makes everything whole
 * packets, and the cut at the beginning grows by it.
 *
 *     packet 0    packet 1          packet 2             packet n
 *   | priming  | extra | s0 ...  | ...            | ... last sample |
 *   ^ -1024 - extra    ^ 0 = what the edit list points at           ^ samples: nothing to cut
 *
 * PCM and FLAC have no priming: a shorter last block ends with the last sample. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "media/mux_internal.h"

enum { PCM_BLOCK = 1024 };

int lt_mux_sound_extra(const AVCodecContext *sound, int64_t samples)
{
    if (!sound->initial_padding || sound->frame_size < 1)
        return 0;
    const int over = (int)(samples % sound->frame_size);
    return over ? sound->frame_size - over : 0;
}

lt_status lt_mux_sound_begin(lt_mux *mux)
{
    AVCodecContext *sound = mux->sound;
    mux->sound_size = sound->frame_size > 0 ? sound->frame_size : PCM_BLOCK;
    mux->sound_extra = lt_mux_sound_extra(sound, mux->plan.samples);
    mux->sound_pts = -mux->sound_extra;
    mux->sound_padding = sound->initial_padding + mux->sound_extra;
    mux->sound_stream->codecpar->initial_padding = mux->sound_padding;
    AVFrame *frame = av_frame_alloc();
    mux->sound_frame = frame;
    if (!frame)
        LT_FAIL(LT_ENOMEM, "no memory for a frame");
    frame->format = sound->sample_fmt;
    frame->nb_samples = mux->sound_size;
    frame->sample_rate = sound->sample_rate;
    if (av_channel_layout_copy(&frame->ch_layout, &sound->ch_layout) < 0 ||
        av_frame_get_buffer(frame, 0) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a frame of %d samples", mux->sound_size);
    av_samples_set_silence(frame->extended_data, 0, mux->sound_size, mux->plan.channels,
                           sound->sample_fmt);
    mux->sound_fill = mux->sound_extra; /* less than a block */
    return LT_OK;
}

/* Give the block under construction to the encoder. */
static lt_status block_send(lt_mux *mux)
{
    AVFrame *frame = mux->sound_frame;
    if (mux->sound_fill == 0)
        return LT_OK;
    frame->nb_samples = mux->sound_fill;
    frame->pts = mux->sound_pts;
    LT_TRY(lt_mux_encode(mux, mux->sound, mux->sound_stream, frame));
    mux->sound_pts += mux->sound_fill;
    mux->sound_fill = 0;
    frame->nb_samples = mux->sound_size;
    if (av_frame_make_writable(frame) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a frame of %d samples", mux->sound_size);
    return LT_OK;
}

/* 24 bits, in the upper bits of 32, rounded to nearest. */
static int32_t pcm24(float x)
{
    const float scaled = x * 8388608.0f;
    const float clipped = scaled > 8388607.0f    ? 8388607.0f
                          : scaled < -8388608.0f ? -8388608.0f
                                                 : scaled;
    return (int32_t)lrintf(clipped) * 256;
}

lt_status lt_mux_sound_append(lt_mux *mux, const float *const *pcm, int64_t count)
{
    const int channels = mux->plan.channels;
    for (int c = 0; c < channels && count > 0; c++) {
        const int64_t bad = lt_first_not_finite(pcm[c], LT_F32, (size_t)count);
        if (bad >= 0)
            LT_FAIL(LT_EDATA, "sound: sample %lld of channel %d is NaN or Inf",
                    (long long)(mux->samples_in + bad), c);
    }
    const int planar = av_sample_fmt_is_planar(mux->sound->sample_fmt);
    for (int64_t done = 0; done < count;) {
        const int64_t room = mux->sound_size - mux->sound_fill;
        const int64_t n = count - done < room ? count - done : room;
        for (int c = 0; c < channels; c++) {
            const float *from = pcm[c] + done;
            if (planar) {
                float *to = (float *)(void *)mux->sound_frame->extended_data[c] + mux->sound_fill;
                memcpy(to, from, (size_t)n * sizeof *to);
            } else {
                int32_t *to =
                    (int32_t *)(void *)mux->sound_frame->data[0] + mux->sound_fill * channels + c;
                for (int64_t i = 0; i < n; i++)
                    to[i * channels] = pcm24(from[i]);
            }
        }
        mux->sound_fill += (int)n;
        done += n;
        mux->samples_in += n;
        if (mux->sound_fill == mux->sound_size)
            LT_TRY(block_send(mux));
    }
    return LT_OK;
}

lt_status lt_mux_sound_end(lt_mux *mux)
{
    LT_TRY(block_send(mux)); /* AAC: never a rest, by sound_extra */
    return lt_mux_encode(mux, mux->sound, mux->sound_stream, NULL);
}
