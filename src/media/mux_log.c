/* mux_log.c - FFmpeg's messages go through lt_log, its failures become ours.
 * FFmpeg and its encoders print to stderr unless told otherwise, in lines that begin and end
 * anywhere. av_log's callback runs on encoder threads too, so the line under construction is kept
 * per thread and the last error under a lock. Two encoders have logs of their own: x265 takes
 * log-level among its parameters (mux_codec.c), SVT-AV1 reads an environment variable when it
 * starts. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "media/mux_internal.h"

static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_text[256];

static void log_callback(void *source, int level, const char *format, va_list arguments)
{
    static _Thread_local int print_prefix = 1;
    char line[512];
    if (level > AV_LOG_INFO)
        return;
    av_log_format_line2(source, level, format, arguments, line, (int)sizeof line, &print_prefix);
    size_t bytes = strlen(line);
    while (bytes > 0 && (line[bytes - 1] == '\n' || line[bytes - 1] == '\r'))
        line[--bytes] = '\0';
    if (bytes == 0)
        return;
    if (level <= AV_LOG_ERROR) {
        /* FFmpeg's prefixes (one or two) hold an address, of no use to a reader. */
        const char *text = line;
        while (text[0] == '[' && strchr(text, ']')) {
            text = strchr(text, ']') + 1;
            text += strspn(text, " ");
        }
        pthread_mutex_lock(&last_lock);
        snprintf(last_text, sizeof last_text, "%.*s", (int)sizeof last_text - 1, text);
        pthread_mutex_unlock(&last_lock);
    }
    lt_log(4, "libav", "%s", line);
}

static void log_open_once(void)
{
    av_log_set_callback(log_callback);
    /* 0: only what is fatal; a user's own setting stays. Read by SVT-AV1 when an encoder is made.
     */
    (void)setenv("SVT_LOG", "0", 0);
}

void lt_mux_log_open(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, log_open_once);
}

void lt_mux_log_last(char *text, size_t bytes)
{
    pthread_mutex_lock(&last_lock);
    snprintf(text, bytes, "%s", last_text);
    last_text[0] = '\0';
    pthread_mutex_unlock(&last_lock);
}

lt_status lt_mux_fail(const lt_mux *mux, int code, const char *what)
{
    char words[256];
    lt_mux_log_last(words, sizeof words);
    const int disk = code == AVERROR(ENOSPC) || code == AVERROR(EIO) || code == AVERROR(EDQUOT);
    if (mux->io_errno || disk)
        LT_FAIL(LT_EIO, "%s: writing failed after %lld bytes: %s", mux->path, (long long)mux->bytes,
                strerror(mux->io_errno ? mux->io_errno : AVUNERROR(code)));
    if (code == AVERROR(ENOMEM))
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", mux->path, what);
    LT_FAIL(LT_EINTERNAL, "%s: %s: %s%s%s", mux->path, what, av_err2str(code), words[0] ? ": " : "",
            words);
}
