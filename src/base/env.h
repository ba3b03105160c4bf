/* env.h - the one place that asks for environment variables. */
#ifndef LT_ENV_H
#define LT_ENV_H

/* A variable's value, or NULL. An empty one counts as not set. Local, never fails. Tested:
 * tests/unit/test_options.c. */
const char *lt_env(const char *name);

#endif
