/* far_map.h - memory whose public address no code can follow. */
#ifndef LT_FAR_MAP_H
#define LT_FAR_MAP_H

#include <stddef.h>

#include "base/status.h"

/* One memfd of bytes > 0 mapped twice: shown is PROT_NONE, alias readable and writable. Local,
 * Blocking. Errors: LT_ENOMEM. */
lt_status lt_far_map(size_t bytes, char **shown, char **alias);
void lt_far_unmap(size_t bytes, char *shown, char *alias);

#endif
