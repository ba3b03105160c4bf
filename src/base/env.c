/* env.c - environment variables. */
#include "base/env.h"

#include <stdlib.h>

const char *lt_env(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}
