/* leave.c - one line, then gone.
 * Lines are put together by hand: memory and locks may be held by the code that was interrupted. */
#include "base/leave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/new_file.h"
#include "base/record.h"
#include "base/status.h"

/* Leaves room for the newline that ends the line. */
static size_t add(char *out, size_t used, const char *text)
{
    const size_t more = strlen(text), room = LT_LEAVE_LINE_BYTES - 1 - used;
    const size_t fits = more < room ? more : room;
    memcpy(out + used, text, fits);
    return used + fits;
}

void lt_leave_say(const char *line, const char *more, const char *hint)
{
    char text[LT_LEAVE_LINE_BYTES];
    size_t used = add(text, 0, "longtake: error: ");
    used = add(text, add(text, used, line), more);
    if (hint[0] != '\0')
        used = add(text, add(text, used, "\nlongtake: hint: "), hint);
    text[used++] = '\n';
    lt_record_last(line);
    lt_log_text(text, used);
}

void lt_leave_say_error(int verbose)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (to != NULL)
        lt_error_print(to, verbose);
    if (to != NULL && fclose(to) == 0)
        lt_log_text(text, bytes);
    else
        lt_error_print(stderr, verbose);
    free(text);
}

_Noreturn void lt_leave(int wait_ms, int exit_code)
{
    lt_new_file_abandon();
    if (wait_ms > 0)
        (void)nanosleep(&(struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000L}, NULL);
    _exit(exit_code);
}
