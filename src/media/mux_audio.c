/* mux_audio.c - samples into the audio encoder.
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

int lt_mux_audio_extra(const AVCodecContext *audio, int64_t samples)
{
    if (!audio->initial_padding || audio->frame_size < 1)
        return 0;
    const int over = (int)(samples % audio->frame_size);
    return over ? audio->frame_size - over : 0;
}

lt_status lt_mux_audio_begin(lt_mux *mux)
{
    AVCodecContext *audio = mux->audio;
    mux->audio_size = audio->frame_size > 0 ? audio->frame_size : PCM_BLOCK;
    mux->audio_extra = lt_mux_audio_extra(audio, mux->plan.samples);
    mux->audio_pts = -mux->audio_extra;
    mux->audio_padding = audio->initial_padding + mux->audio_extra;
    mux->audio_stream->codecpar->initial_padding = mux->audio_padding;
    AVFrame *frame = av_frame_alloc();
    mux->audio_frame = frame;
    if (!frame)
        LT_FAIL(LT_ENOMEM, "no memory for a frame");
    frame->format = audio->sample_fmt;
    frame->nb_samples = mux->audio_size;
    frame->sample_rate = audio->sample_rate;
    if (av_channel_layout_copy(&frame->ch_layout, &audio->ch_layout) < 0 ||
        av_frame_get_buffer(frame, 0) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a frame of %d samples", mux->audio_size);
    av_samples_set_silence(frame->extended_data, 0, mux->audio_size, mux->plan.channels,
                           audio->sample_fmt);
    mux->audio_fill = mux->audio_extra; /* less than a block */
    return LT_OK;
}

/* Give the block under construction to the encoder. */
static lt_status block_send(lt_mux *mux)
{
    AVFrame *frame = mux->audio_frame;
    if (mux->audio_fill == 0)
        return LT_OK;
    frame->nb_samples = mux->audio_fill;
    frame->pts = mux->audio_pts;
    LT_TRY(lt_mux_encode(mux, mux->audio, mux->audio_stream, frame));
    mux->audio_pts += mux->audio_fill;
    mux->audio_fill = 0;
    frame->nb_samples = mux->audio_size;
    if (av_frame_make_writable(frame) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a frame of %d samples", mux->audio_size);
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

lt_status lt_mux_audio_append(lt_mux *mux, const float *const *pcm, int64_t count)
{
    const int channels = mux->plan.channels;
    for (int c = 0; c < channels && count > 0; c++) {
        const int64_t bad = lt_first_not_finite(pcm[c], LT_F32, (size_t)count);
        if (bad >= 0)
            LT_FAIL(LT_EDATA, "sound: sample %lld of channel %d is NaN or Inf",
                    (long long)(mux->samples_in + bad), c);
    }
    const int planar = av_sample_fmt_is_planar(mux->audio->sample_fmt);
    for (int64_t done = 0; done < count;) {
        const int64_t room = mux->audio_size - mux->audio_fill;
        const int64_t n = count - done < room ? count - done : room;
        for (int c = 0; c < channels; c++) {
            const float *from = pcm[c] + done;
            if (planar) {
                float *to = (float *)(void *)mux->audio_frame->extended_data[c] + mux->audio_fill;
                memcpy(to, from, (size_t)n * sizeof *to);
            } else {
                int32_t *to =
                    (int32_t *)(void *)mux->audio_frame->data[0] + mux->audio_fill * channels + c;
                for (int64_t i = 0; i < n; i++)
                    to[i * channels] = pcm24(from[i]);
            }
        }
        mux->audio_fill += (int)n;
        done += n;
        mux->samples_in += n;
        if (mux->audio_fill == mux->audio_size)
            LT_TRY(block_send(mux));
    }
    return LT_OK;
}

lt_status lt_mux_audio_end(lt_mux *mux)
{
    LT_TRY(block_send(mux)); /* AAC: never a rest, by audio_extra */
    return lt_mux_encode(mux, mux->audio, mux->audio_stream, NULL);
}
