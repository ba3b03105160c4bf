/* timeline.c - see timeline.h. */
#include "tests/emu/timeline.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALL = 80 };

typedef struct entry {
    emu_kind kind;
    char call[CALL]; /* a kernel's name goes with its module */
    unsigned long count, launches, exchanges;
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *path;
static entry *entries;
static size_t used, room;
static unsigned long launches, exchanges;

/* A line of its own for each, in one write, so that ranks do not mix theirs. */
static void write_timeline(void)
{
    enum { LINE = 160 };
    static const char *const kinds[] = {"block", "take", "give", "make", "load"};
    char *text = malloc(used * LINE + 1);
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    size_t bytes = 0;
    for (size_t i = 0; text != NULL && i < used; i++) {
        const entry *e = &entries[i];
        const int n = snprintf(text + bytes, LINE, "%d %s %s %lu %lu %lu\n", (int)getpid(),
                               kinds[e->kind], e->call, e->count, e->launches, e->exchanges);
        bytes += n > 0 && n < LINE ? (size_t)n : 0;
    }
    if (file < 0 || text == NULL || write(file, text, bytes) != (ssize_t)bytes)
        (void)fprintf(stderr, "emu: %s cannot be written\n", path);
    if (file >= 0)
        (void)close(file);
    free(text);
}

__attribute__((constructor)) static void read_environment(void)
{
    path = getenv("LT_EMU_LOG");
    if (path != NULL && atexit(write_timeline) != 0)
        abort();
}

static void add(emu_kind kind, const char *call)
{
    entry *last = used > 0 ? &entries[used - 1] : NULL;
    if (last != NULL && last->kind == kind && strncmp(last->call, call, CALL - 1) == 0 &&
        last->launches == launches && last->exchanges == exchanges) {
        last->count++;
        return;
    }
    if (used == room) {
        room = room > 0 ? 2 * room : 256;
        entries = realloc(entries, room * sizeof *entries);
        if (entries == NULL)
            abort();
    }
    entry *e = &entries[used++];
    *e = (entry){.kind = kind, .count = 1, .launches = launches, .exchanges = exchanges};
    (void)snprintf(e->call, sizeof e->call, "%s", call);
}

void emu_note(emu_kind kind, const char *call)
{
    if (path == NULL || (kind == EMU_BLOCK && gettid() != getpid()))
        return;
    (void)pthread_mutex_lock(&lock);
    if (kind == EMU_LAUNCH)
        launches++;
    else if (kind == EMU_EXCHANGE)
        exchanges++;
    else
        add(kind, call);
    (void)pthread_mutex_unlock(&lock);
}
