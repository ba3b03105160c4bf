/* spare.h - host memory of short life that is taken again and again.
 * A transport's requests come and go with each exchange. What is given back is kept for the next
 * take, so a step of a film allocates none: as much is kept as was ever in use at once. Any thread.
 * Tested: tests/ranks/test_step_memory.c. */
#ifndef LT_SPARE_H
#define LT_SPARE_H

#include <stddef.h>

/* At least so many bytes, which hold anything; NULL: there is no memory. Local. */
void *lt_spare_take(size_t bytes);
void lt_spare_give(void *taken); /* NULL is allowed */
void lt_spare_free(void);        /* what was given back */

#endif
