/* texts.h - the prompts of a shot, and the text rows that a window sees.
 *
 * A window sees the rows of one prompt, or, near the border of two that blend, a mixture of both
 * (scheduler/text_at.h says how much of which). It is a mixture of rows, before the model, and not
 * of velocities: one forward a window, whatever it sees.
 *
 * Two prompts rarely have the same number of tokens. A mixture has as many rows as the heavier of
 * the two; of those, the rows that the lighter one has too are (1 - w) a + w b, and what the
 * heavier one has beyond is its own. So, as w rises from 0 to 1, the rows begin as the first
 * prompt's, end as the second's, bit for bit, and move smoothly in between but for one place: at w
 * = 1/2 the end changes from the one's to the other's. Prompts of equal length move smoothly
 * throughout. The other ways were worse: padding with zeros shows the model rows that no text has,
 * and that are not small (it normalises each row), at any w but 0 and 1; both prompts one behind
 * the other needs weights inside attention, or a whole prompt appears at once; stretching one to
 * the other's length mixes neighbouring tokens of one prompt even where w is nearly 0.
 *
 * Local; host memory. Tested: tests/unit/test_texts.c. */
#ifndef LT_TEXTS_H
#define LT_TEXTS_H

#include "base/status.h"
#include "scheduler/text_at.h"

enum { LT_TEXTS_MAX = 256 };

typedef struct lt_text {
    int64_t start;     /* its first frame in the shot */
    const float *rows; /* [count, width]; NULL on dry */
    int64_t count;
} lt_text;

/* start ascends from 0. All is borrowed. */
typedef struct lt_texts {
    const lt_text *text; /* [count] */
    int count;           /* 1 to LT_TEXTS_MAX; 0: a model without text */
    int64_t fade;        /* frames around a border */
} lt_texts;

/* Of a window that holds these frames of the shot. */
lt_text_at lt_texts_at(const lt_texts *texts, lt_range frames);
/* Rows of what a window sees. */
int64_t lt_texts_count(const lt_texts *texts, lt_text_at at);
/* Those rows, [lt_texts_count, width]: *rows points to a prompt's own, or to *made, which the
 * caller frees. On dry both are NULL. Each product is rounded, then the sum: the same bits
 * everywhere. Errors: LT_ENOMEM. */
lt_status lt_texts_rows(const lt_texts *texts, lt_text_at at, int64_t width, const float **rows,
                        float **made);

#endif
