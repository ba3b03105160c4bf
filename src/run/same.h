/* same.h - do all ranks run the same program, with the same words?
 * Ranks that differ would meet in collectives that do not belong together, or compute something
 * that no job asked for: so this comes before any of them. All functions: Collective on world,
 * Blocking. Errors: LT_EUSAGE, naming the ranks that differ from rank 0; LT_ENOMEM. Whether they
 * have the same model: model/files/remote/source.h. */
#ifndef LT_SAME_H
#define LT_SAME_H

#include "parallel/transport/transport.h"

/* The program's version and bytes, and its arguments. */
lt_status lt_same_program(lt_group *world, int argc, char *const argv[]);

#endif
