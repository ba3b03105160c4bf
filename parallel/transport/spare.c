/* spare.c - host memory of short life that is asked for again and again. */
#include "parallel/transport/spare.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { BYTES_MIN = 4096 }; /* fits most: then any block does */

typedef struct block {
    struct block *next;
    size_t bytes; /* behind this head */
    _Alignas(16) char at[];
} block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *kept;

static block *find(size_t bytes)
{
    (void)pthread_mutex_lock(&lock);
    block **at = &kept;
    while (*at != NULL && (*at)->bytes < bytes)
        at = &(*at)->next;
    block *found = *at;
    if (found != NULL)
        *at = found->next;
    (void)pthread_mutex_unlock(&lock);
    return found;
}

void *lt_spare_take(size_t bytes)
{
    block *b = find(bytes);
    const size_t capacity = bytes > BYTES_MIN ? bytes : BYTES_MIN;
    if (b == NULL && capacity < SIZE_MAX - sizeof *b && (b = malloc(sizeof *b + capacity)) != NULL)
        b->bytes = capacity;
    return b != NULL ? b->at : NULL;
}

void lt_spare_give(void *taken)
{
    if (taken == NULL)
        return;
    block *b = (block *)(void *)((char *)taken - offsetof(block, at));
    (void)pthread_mutex_lock(&lock);
    b->next = kept;
    kept = b;
    (void)pthread_mutex_unlock(&lock);
}

void lt_spare_free(void)
{
    block *b;
    while ((b = find(0)) != NULL)
        free(b);
}
