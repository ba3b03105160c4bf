/* film_read_internal.h - what the files film_read*.c share, and nobody else includes.
 * film_read.c finds streams, opens decoders and goes through the packets, film_read_convert.c makes
 * planes and samples of what a decoder gave, film_read_io.c holds the file and says what failed.
 * Each needs only those behind it. All functions are Local and Blocking. */
#ifndef LT_FILM_READ_INTERNAL_H
#define LT_FILM_READ_INTERNAL_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>

#include "base/file.h"
#include "media/film_read.h"

enum { VIDEO, AUDIO, STREAMS };

struct lt_film {
    char path[LT_PATH_BYTES];
    int fd, io_errno, refused; /* refused: FFmpeg wanted another file */
    int64_t bytes, at;
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *decoder[STREAMS]; /* NULL: no audio */
    int stream[STREAMS], done[STREAMS];
    int draining, ends_short; /* the file's end came, and not where its index says */
    int64_t count[STREAMS];   /* frames; samples */
    double first_s[STREAMS];  /* time of the first one */
    lt_film_facts facts;
    AVPacket *packet;
    AVFrame *frame[STREAMS]; /* as decoded */
    AVFrame *plain;          /* 8-bit 4:2:0 */
    struct SwsContext *to_plain, *to_rgb;
    uint8_t *planes[3];
    SwrContext *resampler;
    AVChannelLayout layout; /* of the audio so far */
    int sample_format;
    float *pcm[2];
    int pcm_room;
};

/* film_read_io.c: open f->path as a regular file, and give it to a new f->format. */
lt_status lt_film_io_open(lt_film *f);
/* A call of FFmpeg's failed with this code: whose fault is it? */
lt_status lt_film_fail(lt_film *f, int code, const char *what);

/* film_read_convert.c: what a decoder gave, in f->frame. */
lt_status lt_film_take_frame(lt_film *f, lt_film_event *event);
lt_status lt_film_take_samples(lt_film *f, lt_film_event *event);

#endif
