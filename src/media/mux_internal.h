/* mux_internal.h - what the files mux*.c share; no other file includes it.
 * mux.c holds the file, mux_packets.c the way from an encoder into it, mux_codec.c the table of
 * codecs and the checks, mux_video.c frames, mux_audio.c samples and AAC's priming, mux_boxes.c
 * what FFmpeg leaves out of an MP4, mux_log.c FFmpeg's messages and failures. Each file needs only
 * those that stand later in this order: mux, audio, video, packets, boxes, codec, log.
 * All functions are Local and Blocking; errors as in mux.h. */
#ifndef LT_MUX_INTERNAL_H
#define LT_MUX_INTERNAL_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "base/new_file.h"
#include "media/mux.h"
#include "media/mux_log.h"

/* One row of the codec table. */
typedef struct mux_codec_row {
    const char *name, *encoder;
    const char *audio_mov; /* the audio encoder in .mov; .mp4 has aac, .mkv flac */
    const char *suffixes;
    enum AVPixelFormat format; /* in the file */
    int bits;
    double pixel_bytes;  /* of a film's file: of demo films and camera frames at the default
                           quality, rather too many (ffv1: 16-bit 4:4:4; prores: what HQ aims at) */
    int crf, crf_max;    /* 0: the codec has no such knob */
    const char *preset;  /* the default; NULL: none */
    const char *presets; /* all, with spaces between; NULL: none */
    uint32_t tag;        /* of the stream in MP4 and MOV; 0: FFmpeg's own choice */
} mux_codec_row;

/* The spec with its defaults filled in; everything that must outlive the caller's strings. */
typedef struct mux_plan {
    const mux_codec_row *codec;
    const char *suffix; /* a literal */
    const char *muxer;  /* FFmpeg's name of the container */
    const char *audio;  /* the encoder */
    int fragments;      /* 1: MP4 or MOV, written as fragments */
    int keep_fragments; /* as in the spec */
    int width, height, fps_num, fps_den;
    int64_t frames, samples;
    int sample_rate, channels, crf, threads;
    char preset[32];
} mux_plan;

struct lt_mux {
    mux_plan plan;
    char *path;
    lt_new_file made; /* the file */
    int fd;           /* made's */
    lt_replace replace;
    int hidden;
    int64_t head_bytes; /* after the head: a file of no more than that does not play yet */
    AVDictionary *tags; /* title and comment, if any */
    int io_errno;       /* of the first write that failed, else 0 */
    int64_t bytes;      /* length of the file so far */
    int64_t boxes_done; /* of an MP4 or MOV: looked at up to here (mux_boxes.c) */
    int head_amended;
    AVFormatContext *file;
    AVPacket *packet;

    AVCodecContext *video;
    AVStream *video_stream;
    AVFrame *frame_in, *frame_out; /* planar RGB as given; as the encoder takes it */
    struct SwsContext *convert;
    lt_dtype convert_dtype; /* that frame_in and convert are made for */
    int64_t frames_in, frames_out;
    int video_ended; /* the encoder was told the end */

    AVCodecContext *audio;
    AVStream *audio_stream;
    AVFrame *audio_frame; /* filled up to audio_fill samples */
    int audio_fill, audio_size;
    int64_t samples_in;
    int64_t audio_pts; /* of audio_frame's first sample; starts below 0 by the extra padding */
    int audio_extra;   /* silent samples given to the encoder before sample 0 */
    int audio_padding; /* those and the encoder's priming: what players must skip */
};

/* mux_codec.c */
lt_status lt_mux_plan(const lt_mux_spec *spec, mux_plan *plan);
/* Encoders, opened as the plan asks. global_header: the container keeps parameter sets in its head.
 */
lt_status lt_mux_open_video(const mux_plan *plan, int global_header, AVCodecContext **out);
lt_status lt_mux_open_audio(const mux_plan *plan, int global_header, AVCodecContext **out);
/* Close an encoder in whatever state it is; frames it still holds are lost. NULL is allowed. */
void lt_mux_close_video(AVCodecContext **encoder, int64_t frames_sent, int ended);

/* mux_packets.c: send a frame (NULL: the end) to an encoder and its packets to the file. */
lt_status lt_mux_encode(lt_mux *mux, AVCodecContext *encoder, AVStream *stream,
                        const AVFrame *frame);

/* mux_video.c */
lt_status lt_mux_video_frame(lt_mux *mux, const void *rgb, lt_dtype dtype);

/* mux_audio.c */
/* Samples of silence to encode before sample 0, so that the last packet ends with the last sample.
 */
int lt_mux_audio_extra(const AVCodecContext *audio, int64_t samples);
lt_status lt_mux_audio_begin(lt_mux *mux);
lt_status lt_mux_audio_append(lt_mux *mux, const float *const *pcm, int64_t count);
lt_status lt_mux_audio_end(lt_mux *mux);

/* mux_boxes.c */
/* Amend the head of an MP4 or MOV when it has become complete in the file; later calls do nothing.
 */
lt_status lt_mux_boxes_amend(lt_mux *mux);
extern const char lt_mux_head_slot[]; /* a "genre" that keeps a place free in the head */

/* mux_whole.c: make a plain file of a finished fragmented one, under the same wanted name.
 * timescale: units a second of edit lists; a multiple of the frame and sample rate, so that they
 * are exact. tags: of the file, may be NULL. On any error the fragmented file stays as it was. */
lt_status lt_mux_whole(const lt_new_file *from, const char *muxer, int timescale,
                       const AVDictionary *tags, lt_replace replace);

/* mux_log.c: fail with what went wrong: the file's own error if there was one, else FFmpeg's code
 * and last words. */
lt_status lt_mux_fail(const lt_mux *mux, int code, const char *what);

#endif
