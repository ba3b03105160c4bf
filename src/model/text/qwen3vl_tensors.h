/* qwen3vl_tensors.h - the tensors that the text encoder's config asks for.
 * Local, Blocking. Tested: tests/unit/test_inspect.c (published index). */
#ifndef LT_QWEN3VL_TENSORS_H
#define LT_QWEN3VL_TENSORS_H

#include "model/files/wanted.h"
#include "model/text/qwen3vl.h"

#define LT_QWEN3VL_PREFIX "model.language_model."

/* Of a config that was read: what runs with to's need, the layers after it, the last norm and the
 * head as LT_NEED_NOT. Errors: those of to->fn. */
lt_status lt_qwen3vl_tensors(const lt_qwen3vl_config *config, const lt_wanter *to);
/* An lt_part_kind's: these, and the vision tower where config.json has one. */
lt_status lt_qwen3vl_folder_tensors(const char *folder, lt_want_fn fn, void *ctx);

#endif
