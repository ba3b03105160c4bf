/* mux.h - frames and audio into one playable file.
 *
 * One lt_mux writes one file: frames as they come, in film order, and the audio of the same film.
 * The file grows while it is written and can be played as it does (fragmented MP4 and MOV, MKV): it
 * gets its name with the first fragment that plays, or, where that is asked, when it is whole. When
 * it is finished, MP4 and MOV are made plain (mux_whole.c) unless keep_fragments is set.
 *
 *   codec   encoder     pixels in the file            suffixes
 *   h264    libx264     yuv420p    8 bit              .mp4 .mkv .mov
 *   hevc    libx265     yuv420p10 10 bit, tag hvc1    .mp4 .mkv .mov
 *   av1     libsvtav1   yuv420p10 10 bit              .mp4 .mkv
 *   ffv1    ffv1        yuv444p16 16 bit, lossless    .mkv, .mov where FFmpeg has a tag for it
 *   prores  prores_ks   yuv422p10 10 bit, HQ          .mov .mkv
 * Audio is AAC at 192 kbit/s in .mp4, and in .mov with h264 and hevc; 24-bit PCM in .mov otherwise;
 * 24-bit FLAC in .mkv.
 *
 * Frames are BT.709, limited range, made with that matrix, chroma sited left, and tagged so in
 * stream and container. Codecs of more than 8 bit take LT_U16 frames only: an 8-bit source has lost
 * what they are chosen for. h264 takes LT_U8 or LT_U16; from LT_U16 swscale dithers (ordered, 8x8)
 * on the way to 8 bit, which keeps dark gradients smooth.
 *
 * The number of frames and samples in the file is exactly spec.frames and spec.samples, and the
 * audio's first sample is heard with the first frame: AAC's priming is cut by the container
 * (mux_audio.c, mux_boxes.c).
 *
 * All functions are Local, Blocking, and used by rank 0 only; one lt_mux belongs to one thread at a
 * time. Messages of FFmpeg and its encoders go to lt_log at level 4, area "libav", never to stderr.
 * Tested: tests/unit/test_mux.c. */
#ifndef LT_MUX_H
#define LT_MUX_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/new_file.h"
#include "base/status.h"

typedef struct lt_mux lt_mux;

/* Threads of an encoder whose file must not depend on the machine: x264's and x265's bits follow
 * their number of threads, not what runs at once, so any fixed number will do. This one keeps up
 * with the decoders on eight cores and costs a single one nothing (bench/LOG.md). */
enum { LT_MUX_THREADS_FIXED = 4 };

/* What is asked. Zero-initialise, then fill: fields marked "0: ..." may stay. All strings are the
 * caller's and are needed only during the call that takes the spec. */
typedef struct lt_mux_spec {
    const char *path;   /* to make (base/new_file.h); its own ending does not matter */
    const char *suffix; /* ".mp4", ".mkv" or ".mov": the container. NULL: path's own ending */
    const char *codec;  /* a name of the table above */
    int width, height;
    int fps_num, fps_den; /* 0: 24/1 */
    int64_t frames;       /* exact count of lt_mux_video calls to come, 1 or more */
    int sample_rate;      /* 0: no audio stream (samples must be 0 too) */
    int channels;         /* 0: 2; 1 or 2 */
    int64_t samples;      /* exact count per channel over all lt_mux_audio calls */
    int crf; /* 0: the codec's default; else its constant quality, 1 best to 51 (av1: 63) */
    const char *preset; /* NULL: the codec's default; else the encoder's own word for speed */
    int threads;        /* of the encoder; 0: 1. The same spec and frames give the same bytes */
    const char *title, *comment; /* UTF-8 tags of the file, at most 32 KiB each (MOV); NULL: none */
    int keep_fragments; /* 0: lt_mux_close makes a plain MP4 or MOV of the fragmented one */
    lt_replace replace; /* 0: LT_KEEP */
    int hidden;         /* 1: path appears when the file is whole, and not before */
} lt_mux_spec;

/* Can this be written by this build? Opens the encoders once and closes them; touches no file. A
 * size that the encoder refuses is answered with the nearest found that it takes. Errors, one line
 * each, naming flag, wanted, found: LT_EUSAGE (unknown suffix, codec, size, quality, a combination
 * that no file of this kind may hold), LT_EUNAVAIL (this FFmpeg lacks the encoder). */
lt_status lt_mux_check(const lt_mux_spec *spec);

/* Make the file, under a name of its own at first, and write its head.
 * Errors: those of lt_mux_check; LT_ECREATE (file and errno's text); LT_ENOMEM. */
lt_status lt_mux_open(const lt_mux_spec *spec, lt_mux **out);

/* Append one frame.  rgb  planar [3, height, width], R then G then B, full range, display-referred
 * (BT.709 transfer), dtype LT_U8 or LT_U16 as above. It is copied before the call returns.
 * Errors: LT_ESHAPE (dtype the codec does not take, more frames than asked); LT_EIO (disk full:
 * file and errno's text); LT_EINTERNAL (the encoder refuses). After an error only lt_mux_abort is
 * allowed. */
lt_status lt_mux_video(lt_mux *mux, const void *rgb, lt_dtype dtype);

/* Append count samples.  pcm  one pointer a channel (planar), f32, nominally -1..1; copied.
 * Write it alongside the frames (at most seconds apart), so that the file is well interleaved;
 * ahead of them it is kept in memory, encoded. Samples beyond -1..1 are clipped in PCM and FLAC.
 * Errors: LT_EDATA (NaN or Inf, with its index); LT_ESHAPE (more samples than asked); as
 * lt_mux_video. */
lt_status lt_mux_audio(lt_mux *mux, const float *const *pcm, int64_t count);

/* Bytes written to the file so far. */
int64_t lt_mux_bytes(const lt_mux *mux);

/* Finish the file and make it durable (fdatasync). Unless keep_fragments, an MP4 or MOV is
 * rewritten without fragments, the index in front, as a new file that takes the name: readers then
 * know frames, samples and durations without reading all of it. Should that fail (no room for two),
 * the fragmented file stays, and a warning says so. Frees *mux and sets it NULL whatever happens.
 * Errors: LT_EINTERNAL if the frames or samples given are not the asked number; LT_EIO. */
lt_status lt_mux_close(lt_mux **mux);

/* Stop without finishing; the file is removed. NULL is allowed. */
void lt_mux_abort(lt_mux **mux);

/* What lt_mux_video is best given for a codec: LT_U8, or LT_U16 where the file holds more than 8
 * bits; of a codec that is not in the table LT_U16. */
lt_dtype lt_mux_pixels(const char *codec);
/* Bytes of a film's file for each pixel of a frame at the default quality, rather too many. */
double lt_mux_pixel_bytes(const char *codec);

/* The suffix by which a path names its container: a pointer to a literal, NULL if it names none. */
const char *lt_mux_suffix(const char *path);

/* For `doctor`: what this build can write. */
typedef struct lt_mux_codec {
    const char *name, *encoder, *suffixes; /* suffixes: ".mp4 .mkv", as this FFmpeg takes them */
    int bits;
    int available; /* 1: FFmpeg has the encoders for one of them */
} lt_mux_codec;

/* Fill up to max rows, return how many there are. Never fails. */
size_t lt_mux_codecs(lt_mux_codec *out, size_t max);

/* Memory that a muxer of this spec takes at most, from open to close: encoder, frames, container.
 * 0 if the spec is refused. Local. Tested: tests/film/test_estimate.c. */
size_t lt_mux_memory_bytes(const lt_mux_spec *spec);

/* "libavcodec 59.37.100, libavformat 59.27.100 (GPL version 2 or later)": valid for ever. */
const char *lt_mux_library(void);

#endif
