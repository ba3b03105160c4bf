/* states.c - the DiT's states of the windows at hand. */
#include "run/denoise/states.h"

#include <stdlib.h>
#include <string.h>

void lt_states_open(lt_model *model, const lt_texts *texts, lt_states *out)
{
    *out = (lt_states){.model = model, .texts = texts};
}

static int is_same(const lt_window *a, const lt_window *b)
{
    return a->shape.frames == b->shape.frames && a->shape.width == b->shape.width &&
           a->shape.height == b->shape.height && a->latent == b->latent && a->row == b->row &&
           a->column == b->column && a->anchors == b->anchors &&
           (a->anchors == 0 ||
            memcmp(a->anchor, b->anchor, (size_t)a->anchors * sizeof *a->anchor) == 0);
}

static int is_same_text(lt_text_at a, lt_text_at b)
{
    return a.first == b.first && a.weight >= b.weight && a.weight <= b.weight;
}

static void drop_last(lt_states *s)
{
    const int i = --s->count;
    s->model->family->dit_end(&s->kept[i].state);
    free(s->kept[i].anchor);
    s->kept[i].anchor = NULL;
}

static lt_status begin(const lt_states *s, const lt_window *window, lt_text_at text,
                       lt_dit_state **out)
{
    const lt_family *family = s->model->family;
    const int64_t width = family->text_width != NULL ? family->text_width(s->model) : 0;
    const float *rows = NULL;
    float *made = NULL;
    LT_TRY(lt_texts_rows(s->texts, text, width, &rows, &made));
    const lt_status st =
        family->dit_begin(s->model, window, rows, lt_texts_count(s->texts, text), out);
    free(made); /* dit_begin has copied it */
    return st;
}

lt_status lt_states_get(lt_states *s, const lt_window *window, lt_text_at text, lt_dit_state **out)
{
    *out = NULL;
    for (int i = 0; i < s->count; i++)
        if (is_same(&s->kept[i].window, window) && is_same_text(s->kept[i].text, text)) {
            *out = s->kept[i].state;
            return LT_OK;
        }
    if (s->count == LT_STATES_MAX)
        drop_last(s);
    const int i = s->count;
    s->kept[i].window = *window;
    s->kept[i].text = text;
    const size_t bytes = (size_t)window->anchors * sizeof *window->anchor;
    s->kept[i].anchor = malloc(bytes + 1);
    if (s->kept[i].anchor == NULL)
        LT_FAIL(LT_ENOMEM, "windows: no memory for %d anchors", window->anchors);
    if (bytes > 0)
        memcpy(s->kept[i].anchor, window->anchor, bytes);
    s->kept[i].window.anchor = s->kept[i].anchor;
    s->count++; /* from here on lt_states_close frees it */
    LT_TRY(begin(s, &s->kept[i].window, text, &s->kept[i].state));
    *out = s->kept[i].state;
    return LT_OK;
}

void lt_states_close(lt_states *s)
{
    while (s->count > 0)
        drop_last(s);
    *s = (lt_states){0};
}
