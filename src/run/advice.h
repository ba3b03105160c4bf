/* advice.h - what is said of a job that will run, but not as its user may think.
 * Each is a warning of one line (base/log.h, lt_warn): what was asked, what the model knows, what
 * will be rendered, and the nearest that is better. Local, never fail, rank 0 is heard. Tested:
 * tests/unit/test_advice.c. */
#ifndef LT_ADVICE_H
#define LT_ADVICE_H

#include "model/family.h"

/* asked: frames in the film; rendered: the next length of the family's grid, which the DiT sees.
 * Silent where the model knows the rendered length, or says of none what it knows. */
void lt_advise_length(const lt_model_facts *facts, int64_t asked, int64_t rendered);

/* Silent where the model does not say at which size it was trained. */
void lt_advise_size(const lt_model_facts *facts, int64_t width, int64_t height);

/* Words of the prompt that the model has never seen, named once. */
void lt_advise_words(const lt_model_facts *facts, const char *prompt);

#endif
