/* folders.h - H3's folders, for inspect.
 * Local. Tested: tests/unit/test_inspect.c. */
#ifndef LT_H3_FOLDERS_H
#define LT_H3_FOLDERS_H

#include "model/folders.h"

extern const lt_folders lt_h3_folders;

#endif
