/* answer.c - the one way to stdout.
 * stdio's stdout is not used: its errors come late or never, and a program that prints twice may
 * tell half an answer. A file system that reports a full disk only on close (NFS, quotas) does so
 * on every close of a descriptor, so a duplicate is closed after each answer. */
#include "cmd/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

void lt_answer_init(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    /* The wrong way round, so that reading or writing there fails as on a closed one. open() gives
     * the lowest free number, and those below fd are taken by now. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static lt_status undelivered(int error)
{
    if (error == EPIPE)
        return LT_OK;
    LT_FAIL(LT_EIO, "the answer cannot be written to stdout: %s", strerror(error));
}

static int muted;
void lt_answer_mute(void) { muted = 1; }

lt_status lt_answer_bytes(const char *text, size_t bytes)
{
    if (muted)
        return LT_OK;
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = write(STDOUT_FILENO, text + done, bytes - done);
        if (n < 0 && errno != EINTR)
            return undelivered(errno);
        done += n > 0 ? (size_t)n : 0;
    }
    const int copy = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0 && close(copy) != 0 && errno != EINTR)
        return undelivered(errno);
    return LT_OK;
}

lt_status lt_answer_line(const char *text)
{
    lt_answer answer;
    LT_TRY(lt_answer_open(&answer));
    (void)fprintf(answer.to, "%s\n", text);
    return lt_answer_send(&answer, LT_OK);
}

lt_status lt_answer_json(json_t *value, size_t flags)
{
    char *text = value != NULL ? lt_json_text(value, flags) : NULL;
    json_decref(value);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "no memory for the answer");
    const lt_status st = lt_answer_line(text);
    free(text);
    return st;
}

lt_status lt_answer_open(lt_answer *answer)
{
    *answer = (lt_answer){NULL, NULL, 0};
    answer->to = open_memstream(&answer->text, &answer->bytes);
    if (answer->to == NULL)
        LT_FAIL(LT_ENOMEM, "no memory for the answer");
    return LT_OK;
}

lt_status lt_answer_send(lt_answer *answer, lt_status made)
{
    const int failed = ferror(answer->to) != 0;
    const int closed = fclose(answer->to);
    lt_status st = made;
    if (failed || closed != 0)
        st = made != LT_OK ? made
                           : lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for the answer");
    else if (made == LT_OK)
        st = lt_answer_bytes(answer->text, answer->bytes);
    else if (!muted && write(STDOUT_FILENO, answer->text, answer->bytes) < 0)
        st = made; /* what was found is told as far as it goes; the fault found is the status */
    free(answer->text);
    *answer = (lt_answer){NULL, NULL, 0};
    return st;
}
